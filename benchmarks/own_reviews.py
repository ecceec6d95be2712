"""Stars of reviews from a few of each, as a shop would ask of its own: two kinds, four, and stars as a number.

    python benchmarks/own_reviews.py --data arsc_source19.jsonl.gz [--test FILE] [--tasks 300]

ARSC says of a review whether its stars reach 2, 4 or 5, so that one of 1 star, of 5, of 2 or 3, and of 4 can be told
where it says enough (the last two where a review stands under several thresholds). Products of all kinds are mixed, as
on nobody's page; no review was trained on by any method. --test takes another file of that form, or JSON lines of `text`
and `stars`. Every task has K examples and 15 queries of each kind:

    two      1 star or 5
    four     1, 2 or 3, 4, 5
    number   the same four as 1, 2.5, 4 and 5: mean absolute error; "the mean" guesses that of the support

"with names" adds what the kind is called as one example of it. Writes benchmarks/results/own_reviews.json.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from common import (
    Document,
    Probe,
    Section,
    argument_parser,
    made_by,
    out_with_test,
    plus_minus,
    points,
    provenance,
    render_after,
    table,
    write_document,
)
from regard.domains.texts.corpora import read_reviews
from regard.domains.texts.files import read_rows
from regard.episode import Support
from regard.evaluation import Interval
from regard.evaluation.intervals import is_tie, mean_interval, paired_interval
from regard.learners import NearestNeighbour, Prototypical, RidgePrototypes
from regard.learners.base import EncodingLearner
from regard.recipes.trained import TrainedLearner
from sentences import Column, Vectors, head_on

NAMES = {
    1.0: "a very bad product, one star",
    2.5: "a poor product, two or three stars",
    4.0: "a good product, four stars",
    5.0: "an excellent product, five stars",
}
KINDS = {"two": (1.0, 5.0), "four": tuple(NAMES), "number": tuple(NAMES)}
SHOTS = (1, 5, 20)
OURS, NAMED, MEAN = "sentences", "sentences, with names", "the mean"
N_QUERY = 15


def stars_of(path: Path) -> tuple[list[str], list[float]]:
    """Reviews and their stars, those that say enough."""
    rows = read_rows(path, ("text", "stars", "label"))
    if "stars" in rows[0][1]:
        stars = [float(str(cells["stars"])) for _, cells in rows]
        return [str(cells["text"]) for _, cells in rows], [2.5 if 1 < s < 4 else s for s in stars]
    said: dict[str, dict[str, bool]] = defaultdict(dict)
    for task in read_reviews(path):
        for text, label in zip(task.reviews.texts, task.reviews.labels, strict=True):
            said[text][task.threshold] = label == "1"
    found = []
    for text, reached in said.items():
        if reached.get("t2") is False:
            found.append((text, 1.0))
        elif reached.get("t5"):
            found.append((text, 5.0))
        elif reached.get("t4") and reached.get("t5") is False:
            found.append((text, 4.0))
        elif reached.get("t2") and reached.get("t4") is False:
            found.append((text, 2.5))
    return [text for text, _ in found], [stars for _, stars in found]


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "own_reviews.json",
        data="arsc_source19.jsonl.gz",
        test="another file of reviews",
        data_required=False,
        seed=0,
    )
    made.add_argument("--trained", default=OURS, metavar="RUN", help="a model by name or the folder of a run")
    made.add_argument("--tasks", type=int, default=300)
    made.add_argument("--rows", type=int, default=120, help="reviews of each kind, at most")
    return made


def main() -> None:
    """Encode each review once, answer every task by every method, write."""
    made = parser()
    arguments = made.parse_args()
    path = arguments.test or arguments.data
    if path is None:
        made.error("nothing to evaluate on: expected --data FILE or --test FILE")
    texts, stars = stars_of(path)
    rng = np.random.default_rng(arguments.seed)
    rows = np.concatenate([rng.permutation(np.flatnonzero(np.equal(stars, kind)))[: arguments.rows] for kind in NAMES])
    trained = TrainedLearner.load(arguments.trained)
    vectors = Vectors(trained)
    chosen = [texts[row] for row in rows]
    both = torch.stack([vectors.plain_of(chosen), vectors.trained(chosen)], 1)
    names = vectors.trained(list(NAMES.values()))
    level = np.array(stars)[rows]
    found: dict[str, dict[str, list[float]]] = {}
    for kind, levels in KINDS.items():
        for n_shot in SHOTS:
            key = f"{kind}, {n_shot} of each"
            found[key] = answers(trained, kind, levels, n_shot, both, level, names, arguments)
            print(key, {name: f"{np.mean(values):.3f}" for name, values in found[key].items()}, flush=True)
    document = {
        **provenance(seed=arguments.seed, interval="t over tasks"),
        "reviews": {str(kind): int((level == kind).sum()) for kind in NAMES},
        "found": found,
    }
    arguments.out = out_with_test(arguments, "own_reviews.json")
    write_document(arguments.out, document, indent=None)
    render_after(arguments, SECTIONS)


def answers(
    trained: TrainedLearner,
    kind: str,
    levels: Sequence[float],
    n_shot: int,
    both: Tensor,
    level: np.ndarray,
    names: Tensor,
    arguments: argparse.Namespace,
) -> dict[str, list[float]]:
    """Accuracy, or mean absolute error, of every task by method.

    Args:
        trained: whose head is ours.
        kind: a key of `KINDS`.
        levels: of it.
        n_shot: examples of each.
        both: (N, 2, D) vectors of the reviews, of the body as it is and of the trained layers.
        level: (N,) stars.
        names: (4, D) vectors of what each kind is called.
        arguments: of the script.
    """
    rng = np.random.default_rng([arguments.seed, n_shot, len(levels)])
    picked = np.stack(
        [
            np.stack([rng.permutation(np.flatnonzero(level == one))[: n_shot + N_QUERY] for one in levels])
            for _ in range(arguments.tasks)
        ]
    )
    support, query = (torch.from_numpy(p.reshape(arguments.tasks, -1)) for p in np.split(picked, [n_shot], 2))
    y, query_y = (torch.arange(len(levels)).repeat_interleave(n).expand(arguments.tasks, -1) for n in (n_shot, N_QUERY))
    stars = torch.tensor(levels)
    is_number = kind == "number"

    def score(learner: EncodingLearner, which: int, extra: Tensor | None = None) -> list[float]:
        z, labels = both[:, which][support], y
        if extra is not None:
            own = torch.arange(len(levels)).expand(arguments.tasks, -1)
            z, labels = torch.cat([z, extra.expand(arguments.tasks, -1, -1)], 1), torch.cat([y, own], 1)
        weight = torch.ones(labels.shape)
        rows = Support(z, stars[labels][..., None] if is_number else labels, weight, 0 if is_number else len(levels))
        with torch.no_grad():
            output = learner.predict_encoded(learner.adapt_encoded(rows), both[:, which][query])
        if isinstance(output, Distribution):
            return (output.mean[..., 0] - stars[query_y]).abs().mean(1).tolist()
        assert isinstance(output, Tensor)
        return (output.argmax(-1) == query_y).float().mean(1).tolist()

    n_features = both.shape[-1]
    ours = head_on(Column("tuned", n_features), trained)
    body = Column("body", n_features)
    of_levels = names[[list(NAMES).index(one) for one in levels]]
    found = {
        OURS: score(ours, 1),
        NAMED: score(ours, 1, of_levels),
        "its head, body as it is": score(RidgePrototypes(body), 0),
    }
    if is_number:
        middle = stars[y].mean(1, keepdim=True)
        found[MEAN] = (middle - stars[query_y]).abs().mean(1).tolist()
    else:
        found |= {f"linear probe, C = {c}": score(Probe(body, 1 / c), 0) for c in (1, 10)}
        found["centroid"] = score(Prototypical(body, compare="cosine", scale=10), 0)
        found["nearest neighbour"] = score(NearestNeighbour(body, compare="cosine"), 0)
    return found


def section(document: Document) -> str:
    """A table of classes, and one of numbers; differences over the model as it is."""
    found = document["found"]

    def rows_of(keys: Sequence[str], is_number: bool) -> list[list[str]]:
        rows = []
        for name in found[keys[0]]:
            row = [name]
            for key in keys:
                values = found[key]
                mean = mean_interval(values[name])
                cell = plus_minus(mean) if is_number else f"{100 * mean.mean:.1f} ± {100 * mean.half_width:.1f}"
                if name != OURS:
                    cell += f" ({_difference(paired_interval(values[name], values[OURS]), is_number)})"
                row.append(cell)
            rows.append(row)
        return rows

    classes = [key for key in found if not key.startswith("number")]
    numbers = [key for key in found if key.startswith("number")]
    n_tasks = len(next(iter(found[classes[0]].values())))
    return "\n\n".join(
        [
            "## One's own reviews",
            f"{n_tasks} tasks; accuracy in percent, and in brackets paired points above `{OURS}`. Two kinds are 1 star and 5; four "
            "are 1, 2 or 3, 4, and 5.",
            table(["method", *classes], rows_of(classes, False)),
            "Stars as a number, mean absolute error, and in brackets what is above that of the model:",
            table(["method", *numbers], rows_of(numbers, True)),
            made_by(document),
        ]
    )


def _difference(interval: Interval, is_number: bool) -> str:
    text = f"{interval.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]" if is_number else points(interval, 1)
    return f"{text}, a tie" if is_tie(interval) else text


SECTIONS = (Section("own_reviews", "own_reviews.json", section),)


if __name__ == "__main__":
    main()
