"""What a page begins with: the examples that an estimator was fitted to, and what it is asked first, as JSON for it.

Drawings are their pixels, a table is its CSV again. Words of a user go in as text, which the page only shows as text.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from regard.domains.base import Reader
from regard.domains.tables.kinds import Column, Nothing, Times, Words, is_missing
from regard.domains.tables.reader import LABEL_COLUMNS, TableReader
from regard.domains.texts.body import BodyReader
from regard.episode import Items, first_tensor, map_items
from regard.errors import ConfigError
from regard.limits import PAGE_CHARACTERS, PAGE_CLASSES, PAGE_DRAWINGS, PAGE_PHOTOGRAPHS, PAGE_ROWS, PAGE_SENTENCES

_US_A_YEAR = 365.2425 * 86_400e6

Encode = Callable[[Items], Tensor]
"""(N, *item) to what the learner makes of each item by itself, (N, D)."""


@dataclass(frozen=True)
class OwnTask:
    """Examples of a user, as an estimator has read them.

    Args:
        reader: of them.
        items: (N, *item).
        target: (N,) classes as indices, or (N, T) numbers in the units of y.
        weight: (N,).
        classes: names, in order; none for numbers.
        columns: names of the columns of a table; none where they have none.
        queries: (Q, *item) that the page asks about as it opens; None leaves that to its user.
    """

    reader: Reader
    items: Items
    target: NDArray[Any]
    weight: NDArray[np.float64]
    classes: Sequence[str]
    columns: Sequence[str] = ()
    queries: Items | None = None

    def counted(self) -> OwnTask:
        """Those that count.

        Raises:
            ConfigError: some count more than others.
        """
        there = self.weight > 0
        if not np.isin(self.weight, (0, 1)).all():
            raise ConfigError(
                "examples have weights, for which a page has no place: expected each to count once; fit without "
                "sample_weight, or write model.onnx."
            )
        index = torch.from_numpy(there)
        kept = map_items(lambda t: t[index.to(t.device)], self.items)
        return replace(self, items=kept, target=self.target[there], weight=self.weight[there])


def drawn_examples(task: OwnTask, _: Encode) -> dict[str, Any]:
    """Of letters: class to pixels, and the pixels of the first query.

    Raises:
        ConfigError: more drawings than a page answers from in a second.
    """
    pictures = first_tensor(task.items)
    require_at_most(len(pictures), PAGE_DRAWINGS, "drawings")
    return {
        "examples": [
            {"name": name, "pixels": [_pixels(picture) for picture in pictures[torch.from_numpy(task.target == k)]]}
            for k, name in enumerate(task.classes)
        ],
        "query": None if task.queries is None else _pixels(first_tensor(task.queries)[0]),
    }


def photograph_examples(task: OwnTask, encode: Encode) -> dict[str, Any]:
    """Of photographs: class to pictures with what the network makes of them, and the first query.

    Pictures are only shown, so that they may be small; answers are from the vectors, which nothing was lost of.

    Raises:
        ConfigError: more than a page holds.
    """
    pictures = first_tensor(task.items)
    require_at_most(len(pictures), PAGE_PHOTOGRAPHS, "photographs")
    z = encode(pictures)
    shown = [_shown(picture, vector) for picture, vector in zip(pictures, z, strict=True)]
    query = None
    if task.queries is not None:
        first = first_tensor(task.queries)[:1]
        query = _shown(first[0], encode(first)[0])
    return {
        "examples": [
            {"name": name, "pictures": [shown[i] for i in np.flatnonzero(task.target == k)]}
            for k, name in enumerate(task.classes)
        ],
        "query": query,
    }


def written_sentences(task: OwnTask, _: Encode) -> dict[str, Any]:
    """Of sentences: class to texts, a line each, and the first query, as their tokens spell them, in small letters.

    Raises:
        ConfigError: more sentences than the page reads, or marked entities.
    """
    assert isinstance(task.reader, BodyReader) and isinstance(task.items, dict)
    require_at_most(len(task.target), PAGE_SENTENCES, "sentences")
    if "head" in task.items:
        raise ConfigError("sentences have marked entities, of which there is no page: use `regard serve` or Python.")
    texts = np.array(task.reader.tokenizer.texts(task.items), object)
    examples = [[name, "\n".join(texts[task.target == k])] for k, name in enumerate(task.classes)]
    query = None
    if task.queries is not None:
        first = map_items(lambda t: t[:1], task.queries)
        assert isinstance(first, dict)
        query = task.reader.tokenizer.texts(first)[0]
    return {"examples": examples, "query": query}


def _shown(picture: Tensor, vector: Tensor) -> dict[str, str]:
    file = io.BytesIO()
    Image.fromarray(picture.numpy(force=True)).save(file, "JPEG", quality=85)
    numbers = vector.float().numpy(force=True).astype("<f4").tobytes()
    return {"jpeg": base64.b64encode(file.getvalue()).decode(), "z": base64.b64encode(numbers).decode()}


def written_table(task: OwnTask, _: Encode) -> dict[str, Any]:
    """Of tables: the rows as CSV, those that are asked last; dates as ISO 8601 in UTC.

    Raises:
        ConfigError: a table that the page does not hold, or a class whose name would ask there.
    """
    if not isinstance(task.reader, TableReader) or task.reader.columns is None:
        raise ConfigError("rows are read by a function of yours (prepare), which no page has: write model.onnx.")
    if task.target.ndim == 2 and task.target.shape[1] != 1:
        raise ConfigError(f"y has {task.target.shape[1]} columns: a page predicts one; fit one, or write model.onnx.")
    require_at_most(len(task.target), PAGE_ROWS, "rows")
    if len(task.classes) > PAGE_CLASSES:
        raise ConfigError(f"{len(task.classes)} classes: the page of tables tells {PAGE_CLASSES} apart; use Python.")
    unnamed = [name for name in task.classes if is_missing(name)]
    if unnamed:
        raise ConfigError(
            f"a class is called {unnamed[0]!r}, which in a table says that a cell has no value: rename it."
        )
    kinds = task.reader.columns
    names = list(task.columns) or [f"column {f + 1}" for f in range(len(kinds))]
    wanted = LABEL_COLUMNS if len(task.classes) else ("target", "y")
    label = next((name for name in wanted if name not in names), f"{names[-1]} predicted")
    if len(task.classes):
        answers = [task.classes[k] for k in task.target.tolist()]
    else:
        # What subtracting the mean of y and adding it again left in the last digits is no part of it.
        answers = [_number(float(f"{value:.15g}")) for value in task.target.ravel().tolist()]
    rows = [*_rows(kinds, task.items), *([] if task.queries is None else _rows(kinds, task.queries))]
    answers += ["?"] * (len(rows) - len(answers))
    kept = [f for f, kind in enumerate(kinds) if not isinstance(kind, Nothing)]
    if not kept:
        raise ConfigError("no column of the examples has a value: a page has nothing to go by.")
    lines = [[*(names[f] for f in kept), label], *([*row, answer] for row, answer in zip(rows, answers, strict=True))]
    text = "".join(",".join(map(_quoted, line)) + "\n" for line in lines)
    require_at_most(len(text), PAGE_CHARACTERS, "characters of CSV")
    return {"table": {"csv": text, "classes": list(task.classes)}}


def require_at_most(n: int, most: int, what: str) -> None:
    """Raise where a page would hold too much.

    Raises:
        ConfigError: how many there are, and what is allowed.
    """
    if n > most:
        raise ConfigError(f"{n:,} {what} for a page: expected at most {most:,}; fit fewer, or write model.onnx.")


def _pixels(picture: Tensor) -> list[int]:
    return [int(value) for value in picture.flatten()]


def _rows(kinds: Sequence[Column], items: Items) -> list[list[str]]:
    """Cells as they are written; columns without a value are left out."""
    assert isinstance(items, dict)
    cells = np.where(items["missing"].numpy(force=True), np.nan, items["x"].numpy(force=True))
    columns, at = [], 0
    for kind in kinds:
        part, at = cells[:, at : at + kind.width], at + kind.width
        if kind.width:
            columns.append([_cell(kind, values) for values in part.tolist()])
    return [list(row) for row in zip(*columns, strict=True)]


def _cell(kind: Column, values: list[float]) -> str:
    if values[0] != values[0]:
        return ""
    if isinstance(kind, Words):
        return kind.categories[int(values[0])]
    if isinstance(kind, Times):
        # The year holds it all, to some microseconds.
        moment = np.datetime64(round((values[0] - 1970) * _US_A_YEAR / 1000), "ms")
        return str(np.datetime_as_string(moment, "D" if moment == moment.astype("datetime64[D]") else "ms"))
    return _number(values[0])


def _number(value: float) -> str:
    """As short as gives the same number again."""
    return repr(value).removesuffix(".0")


def _quoted(cell: str) -> str:
    """In quotes where the page would take it apart, or its blanks away."""
    plain = cell == cell.strip() and not re.search('[",;\t\r\n]', cell)
    return cell if plain else '"{}"'.format(cell.replace('"', '""'))
