"""The verdict's numbers: differences seen from the best, ranks, and times for people."""

from __future__ import annotations

from typing import Any

import pytest

from regard.evaluation import Comparison, Interval, Result
from regard.suite import rank_candidates
from regard.suite.verdict import milliseconds


def result(name: str, mean: float, **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "data": "pets", "n_way": 5, "n_shot": 1, "n_query": 5, "episodes": 10, "seed": 0, "transductive": False,
        "seconds": 1.0, "adaptation_seconds": 0.01,
    }  # fmt: skip
    return Result(learner=name, metrics={"accuracy": Interval(mean, mean - 0.01, mean + 0.01)}, **{**fields, **changes})


def compared(a: str, b: str, low: float, high: float, n_shot: int = 1, metric: str = "accuracy") -> Comparison:
    return Comparison(a, b, "pets", 5, n_shot, metric, Interval((low + high) / 2, low, high))


def test_differences_are_seen_from_the_most_accurate_whichever_way_they_were_taken() -> None:
    results = [result("a", 0.5), result("b", 0.9), result("c", 0.7)]
    pairs = [compared("a", "b", -0.5, -0.3), compared("b", "c", 0.1, 0.3), compared("a", "c", -0.25, -0.15)]
    verdict = rank_candidates(results, pairs, [])
    [placed] = verdict.placed.values()
    assert [(p.result.learner, p.rank) for p in placed] == [("b", 1), ("c", 2), ("a", 3)]
    assert placed[0].behind is None
    for one, low, mean, high in ((placed[1], 0.1, 0.2, 0.3), (placed[2], 0.3, 0.4, 0.5)):
        assert one.behind is not None
        assert (one.behind.low, one.behind.mean, one.behind.high) == pytest.approx((low, mean, high))
    assert verdict.learner == "b"
    assert verdict.sentences[0] == (
        "5-way 1-shot of pets: b is the most accurate, 90.0% [89.0, 91.0], clearly ahead of the next, c."
    )


def test_other_metrics_and_other_settings_do_not_count() -> None:
    results = [result(n, m, n_shot=s) for s in (1, 5) for n, m in (("a", 0.8), ("b", 0.7))]
    pairs = [
        compared("a", "b", 0.05, 0.15),
        compared("a", "b", -9.0, -8.0, metric="nll"),
        compared("a", "b", -0.1, 0.3, 5),
    ]
    verdict = rank_candidates(results, pairs, [])
    assert [[p.rank for p in placed] for placed in verdict.placed.values()] == [[1, 2], [1, 1]]
    assert list(verdict.placed) == [("pets", 5, 1), ("pets", 5, 5)]
    assert "b ties with it" in verdict.sentences[1]


def test_a_learner_alone_is_recommended() -> None:
    verdict = rank_candidates([result("only", 0.6)], [], [])
    assert verdict.learner == "only"
    assert verdict.sentences == ("5-way 1-shot of pets: only is the most accurate, 60.0% [59.0, 61.0].",)


@pytest.mark.parametrize(("quick", "said"), [(0.005, True), (0.0051, False), (0.02, False)])
def test_a_tie_that_adapts_in_half_the_time_is_named(quick: float, said: bool) -> None:
    results = [result("slow", 0.8, adaptation_seconds=0.01), result("quick", 0.79, adaptation_seconds=quick)]
    sentences = " ".join(rank_candidates(results, [compared("slow", "quick", -0.1, 0.12)], []).sentences)
    assert ("Nobody clearly beats quick either, and it adapts in 5 ms against 10 ms" in sentences) == said


def test_of_many_ties_four_are_named_and_the_rest_counted() -> None:
    names = [f"l{i}" for i in range(8)]
    results = [result(n, 0.9 - i / 1000) for i, n in enumerate(names)]
    pairs = [compared("l0", n, -0.1, 0.1) for n in names[1:]]
    assert "l1, l2, l3, l4 and 3 more tie with it" in rank_candidates(results, pairs, []).sentences[0]
    few = rank_candidates(results[:6], pairs[:5], []).sentences[0]
    assert "l1, l2, l3, l4 and l5 tie with it" in few


def test_baselines_that_are_not_beaten_are_named() -> None:
    results = [result("a", 0.9), result("raw", 0.88), result("mean", 0.5)]
    pairs = [compared("a", "raw", -0.1, 0.14), compared("a", "mean", 0.3, 0.5), compared("raw", "mean", 0.2, 0.5)]
    told = rank_candidates(results, pairs, ["raw", "mean"]).sentences[-1]
    assert told.startswith("raw, which was not trained, is not clearly behind everywhere")
    assert "not trained" not in " ".join(rank_candidates(results, pairs, ["mean"]).sentences)


def test_times_for_people() -> None:
    assert [milliseconds(s) for s in (0.0, 0.00123, 0.0994, 0.0999, 0.1, 2.5)] == [
        "0",
        "1.2",
        "99",
        "100",
        "100",
        "2,500",
    ]
