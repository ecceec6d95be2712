"""Which learner is best, with intervals: a tie is reported as one, and a baseline that is not beaten is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regard.evaluation import Comparison, Interval, Result, ranks

_LISTED = 4
"""Names in a sentence; of more, the rest are counted."""

Setting = tuple[str, object, object]


@dataclass(frozen=True)
class Placed:
    """One learner in one setting.

    Args:
        result: what it reached.
        rank: one more than the learners that are clearly better.
        behind: how far the most accurate one is ahead, paired; None for that one itself.
    """

    result: Result
    rank: int
    behind: Interval | None


@dataclass(frozen=True)
class Verdict:
    """What to use.

    Args:
        learner: the recommended one.
        sentences: why, one a setting, then what else is worth knowing.
        placed: by setting, most accurate first.
    """

    learner: str
    sentences: tuple[str, ...]
    placed: Mapping[Setting, list[Placed]]


def rank_candidates(results: Sequence[Result], comparisons: Sequence[Comparison], baselines: Sequence[str]) -> Verdict:
    """Rank every setting, and recommend one learner.

    It is one that nobody beats clearly, in every setting if there is such a one, else the least beaten; of several the
    most accurate.

    Args:
        results: of every learner in every setting.
        comparisons: paired differences of their accuracy.
        baselines: names of those that were not trained.
    """
    settings = list(dict.fromkeys(_setting(r) for r in results))
    placed: dict[Setting, list[Placed]] = {}
    for setting in settings:
        inside = sorted((r for r in results if _setting(r) == setting), key=lambda r: -r.metrics["accuracy"].mean)
        paired = [c for c in comparisons if _setting(c) == setting and c.metric == "accuracy"]
        rank = ranks(paired) if paired else {}
        first = inside[0].learner
        placed[setting] = [Placed(r, rank.get(r.learner, 1), _ahead(first, r.learner, paired)) for r in inside]
    beaten: dict[str, int] = {}
    mean: dict[str, float] = {}
    for here in placed.values():
        for one in here:
            name = one.result.learner
            beaten[name] = beaten.get(name, 0) + one.rank - 1
            mean[name] = mean.get(name, 0.0) + one.result.metrics["accuracy"].mean
    best = min(mean, key=lambda name: (beaten[name], -mean[name]))
    sentences = [_sentence(here) for here in placed.values()]
    sentences += _quicker(best, list(placed.values())) + _unbeaten(best, comparisons, baselines)
    return Verdict(best, tuple(sentences), placed)


def _setting(x: Result | Comparison) -> Setting:
    return x.data, x.n_way, x.n_shot


def _ahead(first: str, name: str, comparisons: Sequence[Comparison]) -> Interval | None:
    """first - name."""
    for c in comparisons:
        if {c.a, c.b} == {first, name} and first != name:
            x = c.difference
            return x if c.a == first else Interval(-x.mean, -x.high, -x.low)
    return None


def _sentence(here: Sequence[Placed]) -> str:
    best, tied = here[0], [one.result.learner for one in here[1:] if one.behind and one.behind.low <= 0]
    r = best.result
    x = r.metrics["accuracy"]
    accuracy = f"{100 * x.mean:.1f}% [{100 * x.low:.1f}, {100 * x.high:.1f}]"
    words = f"{r.n_way}-way {r.n_shot}-shot of {r.data}: {r.learner} is the most accurate, {accuracy}"
    if tied:
        return f"{words}, and {_and(tied)} {'ties' if len(tied) == 1 else 'tie'} with it."
    return f"{words}, clearly ahead of the next, {here[1].result.learner}." if len(here) > 1 else f"{words}."


def _quicker(best: str, everywhere: Sequence[Sequence[Placed]]) -> list[str]:
    """A learner that ties with the recommended one in every setting and adapts in half the time or less."""
    seconds = {
        one.result.learner: one.result.adaptation_seconds or 0.0
        for one in everywhere[0]
        if all(other.rank == 1 for here in everywhere for other in here if other.result.learner == one.result.learner)
    }
    if best not in seconds:
        return []
    quick = min(seconds, key=lambda name: seconds[name])
    if 2 * seconds[quick] > seconds[best]:
        return []
    times = f"{milliseconds(seconds[quick])} ms against {milliseconds(seconds[best])} ms"
    return [f"Nobody clearly beats {quick} either, and it adapts in {times}."]


def _unbeaten(best: str, comparisons: Sequence[Comparison], baselines: Sequence[str]) -> list[str]:
    if best in baselines:
        return [f"{best} was not trained at all: training did not pay here. Give more minutes, or more classes."]
    even = [
        name
        for name in baselines
        if any({c.a, c.b} == {best, name} and c.metric == "accuracy" and c.better != best for c in comparisons)
    ]
    if not even:
        return []
    return [
        f"{_and(even)}, which {'was' if len(even) == 1 else 'were'} not trained, {'is' if len(even) == 1 else 'are'} "
        f"not clearly behind everywhere: give more minutes, or more classes to train on."
    ]


def _and(names: Sequence[str]) -> str:
    names = names if len(names) <= _LISTED + 1 else [*names[:_LISTED], f"{len(names) - _LISTED} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def milliseconds(seconds: float) -> str:
    """For people: two digits below a hundred."""
    return f"{1000 * seconds:,.0f}" if seconds >= 0.0995 else f"{1000 * seconds:.2g}"
