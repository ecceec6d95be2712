"""Questions that wait for one handle share a pass, get their own answers, and do not share their faults."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from regard.errors import DataError
from regard.serve.batching import Batcher

passes: list[tuple[str, tuple[Any, ...]]] = []


def slow(handle: str, queries: Sequence[Any]) -> list[dict[str, Any]]:
    passes.append((handle, tuple(queries)))
    time.sleep(0.01)
    if "bad" in queries:
        raise DataError("bad")
    return [{"answer": f"{handle}:{query}"} for query in queries]


def asked(questions: list[tuple[str, list[Any]]], **options: Any) -> list[Any]:
    async def run() -> list[Any]:
        batcher = Batcher(slow, **options)
        try:
            return await asyncio.gather(*(batcher.ask(*question) for question in questions), return_exceptions=True)
        finally:
            batcher.close()

    passes.clear()
    return asyncio.run(run())


def test_each_gets_its_own_answers_in_few_passes() -> None:
    questions = [("ab"[i % 2], [i, -i]) for i in range(40)]
    answers = asked(questions)
    for (handle, queries), answer in zip(questions, answers, strict=True):
        assert answer == [{"answer": f"{handle}:{query}"} for query in queries]
    assert len(passes) <= 3


def test_a_pass_has_a_largest_size() -> None:
    asked([("a", [i]) for i in range(40)], max_queries=8)
    assert max(len(queries) for _, queries in passes) == 8
    assert sorted(query for _, queries in passes for query in queries) == list(range(40))


def test_what_sees_all_queries_is_asked_one_question_at_a_time() -> None:
    asked([("a", [i, i + 1]) for i in range(5)], together=False)
    assert [queries for _, queries in passes] == [(i, i + 1) for i in range(5)]


def test_a_fault_is_the_askers_own() -> None:
    answers = asked([("a", [0]), ("a", ["bad"]), ("a", [2])])
    assert isinstance(answers[1], DataError)
    assert answers[0] == [{"answer": "a:0"}]
    assert answers[2] == [{"answer": "a:2"}]


def test_other_errors_reach_whoever_waits() -> None:
    def broken(handle: str, queries: Sequence[Any]) -> list[dict[str, Any]]:
        raise ZeroDivisionError

    async def run() -> None:
        batcher = Batcher(broken)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(batcher.ask("a", [1]), 5)
        batcher.close()

    asyncio.run(run())
