"""What papers published, and the report that sets our numbers beside theirs. Read by `tables.py`."""

from __future__ import annotations

from typing import Any

from regard.evaluation import Comparison, Result
from regard.evaluation.results_json import from_json

BESIDE = "Prototypical"
"""Every other learner is compared with it."""

Setting = tuple[str, Any, Any]

OMNIGLOT: dict[str, dict[tuple[int, int], float]] = {
    name: dict(zip(((5, 1), (5, 5), (20, 1), (20, 5)), figures, strict=False))
    for name, figures in {
        "Siamese": (97.3, 98.4, 88.2, 97.0),  # as MAML's paper reports it
        "Matching": (98.1, 98.9, 93.8, 98.5),
        "Prototypical": (98.8, 99.7, 96.0, 98.9),
        "Relation": (99.6, 99.8, 97.6, 99.1),
        "MAML": (98.7, 99.9),  # answers together; 20-way it is another training
    }.items()
}
"""Accuracy on Omniglot by (ways, shots), trained on 1,028 characters. The others did not publish any."""

_TITLES = {
    "omniglot/test, turned too": "Omniglot by the papers' protocol: turned characters are classes, all of it inductive",
    "caltech101/test": "Caltech-101, 18 classes never seen, 32x32",
    "gtsrb/test": "Traffic signs, a domain never seen, one image a track",
}


_PRACTICE = (
    "Practice. Its seconds, and the milliseconds above, are those of a core that others used too, of machines with and without "
    "fast bfloat16; one that was begun with another learner had that one's practice besides:\n"
)


def report(document: dict[str, Any], encoder: str) -> str:
    """The table of one file of `paper_tables.py`, a section for each data set in it."""
    results, comparisons = from_json(document)
    parts = [
        _section([r for r in results if r.data == data], comparisons, encoder)
        for data in dict.fromkeys(r.data for r in results)
    ]
    training = document["settings"]["training"]
    lines = ["| learner | steps | tasks a step | seconds | command |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(r.learner for r in results):
        told = training[name]
        command = f"`{document['command']} {told['command']}`"
        lines.append(f"| {name} | {told['steps']:,} | {told['episodes']} | {told['seconds']:,} | {command} |")
    return "\n".join([*parts, _PRACTICE, *lines])


def _section(results: list[Result], comparisons: list[Comparison], encoder: str) -> str:
    data = results[0].data
    settings: list[Setting] = list(dict.fromkeys((data, r.n_way, r.n_shot) for r in results))
    settings.sort(key=lambda s: (s[1], s[2]))
    papers = OMNIGLOT if data.startswith("omniglot") else {}
    heads = [f"{way}-way {shot}-shot" for _, way, shot in settings]
    lines = [
        f"## {_TITLES.get(data, data)}, {encoder}\n",
        f"{results[0].episodes:,} episodes; ours ± half of the 95% interval{', and the paper' * bool(papers)}.\n",
        f"| learner | {' | '.join(heads)} | ms to adapt |",
        "|---" * (len(heads) + 2) + "|",
    ]
    names = list(dict.fromkeys(r.learner for r in results))
    found = {(r.learner, r.data, r.n_way, r.n_shot): r for r in results}
    for name in names:
        own = [found.get((name, *setting)) for setting in settings]
        cells = [_cell(r, papers.get(name, {})) for r in own]
        first = next(r for r in own if r is not None)
        marked = f"{name}{' (transductive)' if first.transductive else ''}"
        lines.append(f"| {marked} | {' | '.join(cells)} | {1000 * (first.adaptation_seconds or 0):.3g} |")
    lines += [
        f"\nPoints above {BESIDE}, paired over the same episodes:\n",
        f"| learner | {' | '.join(heads)} |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for name in names:
        if name != BESIDE:
            cells = [_above(name, setting, comparisons) for setting in settings]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(result: Result | None, paper: dict[tuple[int, int], float]) -> str:
    if result is None:
        return ""
    accuracy = result.metrics["accuracy"]
    published = paper.get((result.n_way, result.n_shot))  # type: ignore[arg-type]
    beside = "" if published is None else f" ({published})"
    return f"{100 * accuracy.mean:.1f} ± {50 * (accuracy.high - accuracy.low):.1f}{beside}"


def _above(name: str, setting: Setting, comparisons: list[Comparison]) -> str:
    """The learner less the one it is compared with, whichever way round that was kept."""
    for c in comparisons:
        if (c.data, c.n_way, c.n_shot) == setting and {c.a, c.b} == {name, BESIDE} and c.metric == "accuracy":
            sign = 1 if c.a == name else -1
            low, high = sorted((100 * sign * c.difference.low, 100 * sign * c.difference.high))
            told = f"{100 * sign * c.difference.mean:+.2f} [{low:+.2f}, {high:+.2f}]"
            return f"{told}, a tie" if c.tie else told
    return ""
