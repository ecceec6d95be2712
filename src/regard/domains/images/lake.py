"""Lake's one-shot classification: twenty letters of one alphabet by one hand, then by another: which is which?

    drawn_runs    the protocol on any alphabets: Omniglot's own, of which a user has the drawings
    lake_runs     the twenty runs of Lake et al., from the file all_runs.zip of github.com/brendenlake/omniglot

Each of the twenty query drawings is answered by itself. People err on 4.5%, and were shown letters "produced by a
typical drawer of that alphabet". How those drawers were found is not said, and it matters: `hands` of `drawn_runs`.

Lake, Salakhutdinov, Tenenbaum 2015, "Human-level concept learning through probabilistic program induction", Science
350, 1332-1338; Lake, Salakhutdinov, Tenenbaum 2019, "The Omniglot challenge: a 3-year progress report"
(arXiv:1902.03477).
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from regard.domains.images.folder import ImageReader
from regard.errors import DataError
from regard.sampling.dataset import Dataset
from regard.sampling.random import bits, without_replacement

N_WAY = 20
_LETTERS, _DRAWERS, _ORDER = range(3)
_LABELS = "class_labels.txt"
_SIDE, _BOX, _BLUR = 28, 24 / 28, 1.5  # of the pictures in which drawers are compared


@dataclass(frozen=True)
class Run:
    """One alphabet, two hands.

    Args:
        name: of the run.
        group: of the alphabet; Lake's runs do not say it, so there it is the run.
        support: one drawing a letter, as arrays.
        labels: their names.
        query: the drawings to be named.
        answers: their names.
    """

    name: str
    group: str
    support: list[Any]
    labels: list[str]
    query: list[Any]
    answers: list[str]


Hands = Literal["any", "typical"]


def drawn_runs(
    dataset: Dataset, n_runs: int = 40, *, seed: int = 0, hands: tuple[Hands, Hands] = ("any", "any")
) -> list[Run]:
    """Runs from whole alphabets: twenty letters and two drawers at random, `n_runs` an alphabet.

    Args:
        dataset: pictures (N, side, side), ink light, whose class group is the alphabet; the k-th drawing of each class
            is by drawer k.
        n_runs: of each alphabet that has twenty letters.
        seed: of letters and drawers.
        hands: whose the support and the questions may be: any drawer's, or one of the quarter who draw the alphabet
            most like everybody else, see `typical_drawers`.

    Raises:
        DataError: no alphabet has twenty letters, or a class has fewer than two drawings.
    """
    groups = np.array(dataset.class_groups)
    large = [name for name in dict.fromkeys(dataset.class_groups) if (groups == name).sum() >= N_WAY]
    if not large:
        raise DataError(f"no alphabet has {N_WAY} letters: expected Omniglot's, whole.")
    return [run for k, name in enumerate(large) for run in _of_alphabet(dataset, name, k, n_runs, seed, hands)]


def typical_drawers(drawings: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The quarter of the drawers, at least two, who draw most like the others; the most typical first.

    Likeness is the cosine between two drawings of a letter, each fitted to its box and blurred, averaged over letters
    and over the other drawers. It knows nothing of any learner.

    Args:
        drawings: (letters, drawers, side, side), ink light.
    """
    from scipy.ndimage import gaussian_filter  # comes with scikit-learn

    n_letters, n_drawers = drawings.shape[:2]
    boxed = ImageReader(_SIDE, 1, "light", _BOX)(list(drawings.reshape(-1, *drawings.shape[2:]))).numpy()
    z = gaussian_filter(boxed.astype(np.float64), (0, _BLUR, _BLUR)).reshape(n_letters, n_drawers, -1)
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    # A drawing's likeness to itself is 1 for everybody and changes no order.
    likeness = (z @ z.swapaxes(1, 2)).mean((0, 2))
    return (-likeness).argsort(kind="stable")[: max(2, n_drawers // 4)]


def _of_alphabet(dataset: Dataset, name: str, k: int, n_runs: int, seed: int, hands: tuple[Hands, Hands]) -> list[Run]:
    """Runs of one alphabet, a function of (seed, alphabet, run)."""
    letters = np.flatnonzero(np.array(dataset.class_groups) == name)
    y, x = dataset.y.numpy(), dataset.x
    fewest = int(min((y == c).sum() for c in letters))
    if fewest < 2:
        raise DataError(f"a letter of {name} has {fewest} drawing(s): expected one by each of two hands or more.")
    drawings = np.stack([np.flatnonzero(y == c)[:fewest] for c in letters])
    number = np.arange(k * n_runs, (k + 1) * n_runs)
    n_drawers = drawings.shape[1]
    chosen, shuffled = (
        without_replacement(seed, stream, number, np.full((n_runs, 1), of), n, of)[:, 0]
        for stream, of, n in ((_LETTERS, len(letters), N_WAY), (_DRAWERS, n_drawers, n_drawers))
    )
    everybody = np.arange(n_drawers)
    typical = typical_drawers(x[torch.from_numpy(drawings)].numpy()) if "typical" in hands else everybody  # type: ignore[index, union-attr]
    support_hands, query_hands = (typical if hand == "typical" else everybody for hand in hands)
    # Which letter stands where tells nothing, so that a learner that answers by position is at chance.
    order = bits(seed, _ORDER, number, N_WAY).argsort(1)
    runs = []
    for i in range(n_runs):
        support_drawer = next(d for d in shuffled[i] if d in support_hands)
        query_drawer = next(d for d in shuffled[i] if d in query_hands and d != support_drawer)
        support, query = drawings[chosen[i], support_drawer], drawings[chosen[i], query_drawer]
        names = [dataset.class_names[c] for c in letters[chosen[i]]]
        runs.append(
            Run(
                f"{name} {i + 1}",
                name,
                [x[row].numpy() for row in support],  # type: ignore[index, union-attr]
                names,
                [x[query[j]].numpy() for j in order[i]],  # type: ignore[index, union-attr]
                [names[j] for j in order[i]],
            )
        )
    return runs


def lake_runs(path: Path | str) -> list[Run]:
    """The runs in all_runs.zip: run01/class_labels.txt with lines "run01/test/item01.png run01/training/class03.png".

    Raises:
        DataError: no such file, or one of another make.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(
            f"{file} is not there: expected all_runs.zip of github.com/brendenlake/omniglot (python/one-shot-"
            "classification)."
        )
    try:
        with zipfile.ZipFile(file) as archive:
            lists = sorted(
                name for name in archive.namelist() if name.endswith(f"/{_LABELS}") and "__MACOSX" not in name
            )
            runs = [_from_zip(archive, name) for name in lists]
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise DataError(f"{file} is damaged or of another make ({error}): download it again.") from error
    if not runs:
        raise DataError(f"{file} holds no {_LABELS}: expected run01/{_LABELS} and so on.")
    return runs


def _from_zip(archive: zipfile.ZipFile, list_name: str) -> Run:
    from PIL import Image

    # Paths in the list begin with the run's folder, which may itself lie in another.
    folder = list_name.removesuffix(_LABELS)
    root = folder.rstrip("/").rpartition("/")[0]
    pairs = [line.split() for line in archive.read(list_name).decode().splitlines() if line.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{list_name}: expected two file names a line")
    supports = sorted({training for _, training in pairs})
    at = (lambda name: f"{root}/{name}") if root else (lambda name: name)
    name = folder.rstrip("/").rpartition("/")[2]
    pictures: list[list[Any]] = [[], []]
    for names, arrays in zip((supports, [test for test, _ in pairs]), pictures, strict=True):
        for picture_name in names:
            with Image.open(io.BytesIO(archive.read(at(picture_name)))) as picture:
                arrays.append(np.array(picture.convert("L")))
    support, query = pictures
    return Run(name, name, support, supports, query, [training for _, training in pairs])
