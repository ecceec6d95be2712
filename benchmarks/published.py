"""What papers published, and the sections that set our numbers beside theirs. Read by `paper_tables.py`."""

from __future__ import annotations

from typing import Any

from common import Document, Section, made_by, percent, summarised, table
from regard.evaluation import Comparison, Result
from regard.learners import find_learner, find_reference

BASELINE = "Prototypical"
"""Every other learner is compared with it."""

Setting = tuple[str, Any, Any]
"""Data, ways, shots."""

OMNIGLOT: dict[str, dict[tuple[int, int], float]] = {
    name: dict(zip(((5, 1), (5, 5), (20, 1), (20, 5)), figures, strict=False))
    for name, figures in {
        "Siamese": (97.3, 98.4, 88.2, 97.0),  # as MAML's paper reports it
        "Matching": (98.1, 98.9, 93.8, 98.5),
        "Prototypical": (98.8, 99.7, 96.0, 98.9),
        "Relation": (99.6, 99.8, 97.6, 99.1),
        "MAML": (98.7, 99.9),  # transductive; 20-way takes a training of its own
    }.items()
}
"""Accuracy on Omniglot by (ways, shots), trained on 1,028 characters. The others did not publish any."""

_TITLES = {
    "omniglot": "Omniglot by the papers' protocol: rotated characters are classes, all of it inductive",
    "caltech101": "Caltech-101, 18 unseen classes, 32x32",
    "gtsrb": "Traffic signs, an unseen domain, one image per track",
}
_TRAINING = (
    "Training. Its seconds, and the milliseconds above, are those of a core that others used too, of machines with and "
    "without fast bfloat16; one that starts from another learner had that one's training besides:"
)


def report(document: Document, encoder: str) -> str:
    """The tables of one file of `paper_tables.py`, a section for each data set in it."""
    results, comparisons = summarised(document)
    blocks = [
        _section([r for r in results if r.data == data], comparisons, encoder)
        for data in dict.fromkeys(r.data for r in results)
    ]
    training, rows = document["settings"]["training"], []
    for name in dict.fromkeys(r.learner for r in results):
        spent = training[name]
        command = f"`{document['command']} {spent['command']}`"
        rows.append([name, f"{spent['steps']:,}", spent["episodes"], f"{spent['seconds']:,}", command])
    trained = table(["learner", "steps", "tasks per step", "seconds", "command"], rows)
    return "\n\n".join([*blocks, _TRAINING, trained, made_by(document)])


def _section(results: list[Result], comparisons: list[Comparison], encoder: str) -> str:
    data = results[0].data
    settings: list[Setting] = sorted({(data, r.n_way, r.n_shot) for r in results}, key=lambda s: (s[1], s[2]))
    papers = OMNIGLOT if data.startswith("omniglot") else {}
    heads = [f"{way}-way {shot}-shot" for _, way, shot in settings]
    names = list(dict.fromkeys(r.learner for r in results))
    found = {(r.learner, r.data, r.n_way, r.n_shot): r for r in results}
    rows = []
    for name in names:
        own = [found.get((name, *setting)) for setting in settings]
        first = next(r for r in own if r is not None)
        cells = [_cell(r, papers.get(name, {})) for r in own]
        marked = f"{name}{' (transductive)' if first.transductive else ''}"
        rows.append([marked, *cells, f"{1000 * (first.adaptation_seconds or 0):.3g}"])
    above = [[name, *(_above(name, s, comparisons) for s in settings)] for name in names if name != BASELINE]
    published = ", and the paper" if papers else ""
    return "\n\n".join(
        [
            f"## {_TITLES.get(data.partition('/')[0], data)}, {encoder}",
            f"{results[0].episodes:,} episodes; ours ± half-width of the 95% interval{published}.",
            table(["learner", *heads, "ms to adapt"], rows),
            f"Points above {BASELINE}, paired over the same episodes:",
            table(["learner", *heads], above),
        ]
    )


def _cell(result: Result | None, paper: dict[tuple[int, int], float]) -> str:
    if result is None:
        return ""
    published = paper.get((result.n_way, result.n_shot))  # type: ignore[arg-type]
    return percent(result) + ("" if published is None else f" ({published})")


def _above(name: str, setting: Setting, comparisons: list[Comparison]) -> str:
    """The learner less the baseline, whichever way round that was kept."""
    for c in comparisons:
        if (c.data, c.n_way, c.n_shot) == setting and {c.a, c.b} == {name, BASELINE} and c.metric == "accuracy":
            sign = 1 if c.a == name else -1
            low, high = sorted((100 * sign * c.difference.low, 100 * sign * c.difference.high))
            difference = f"{100 * sign * c.difference.mean:+.2f} [{low:+.2f}, {high:+.2f}]"
            return f"{difference}, a tie" if c.tie else difference
    return ""


def learners_table(document: Document) -> str:
    """The README's table: learner, family, year, paper, and accuracy on Omniglot once trained."""
    results, _ = summarised(document)
    kinds = sorted({(r.n_way, r.n_shot) for r in results})
    rows = []
    for name in dict.fromkeys(r.learner for r in results):
        row = find_learner(name.partition(",")[0])
        found = {(r.n_way, r.n_shot): r for r in results if r.learner == name}
        figures = [percent(found[kind]) if kind in found else "" for kind in kinds]
        title = find_reference(row.references[0]).title
        rows.append([name, ", ".join(row.family), row.year, title, *figures])
    heads = [f"{way}-way {shot}-shot" for way, shot in kinds]
    return table(["learner", "family", "year", "paper", *heads], rows)


SECTIONS = (
    Section("learners", "paper_omniglot.json", learners_table, "table"),
    Section("paper_omniglot", "paper_omniglot.json", lambda d: report(d, "Conv4")),
    Section("paper_caltech_conv4", "paper_caltech_conv4.json", lambda d: report(d, "Conv4")),
    Section(
        "paper_caltech_resnet12", "paper_caltech_resnet12.json", lambda d: report(d, "ResNet-12 of half the widths")
    ),
)
