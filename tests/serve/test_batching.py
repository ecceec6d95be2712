"""Questions that wait share a pass, get their own answers, and do not share their faults."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from regard.errors import DataError
from regard.serve.batching import Answers, Batcher, Question

passes: list[tuple[Question, ...]] = []


def slow(questions: Sequence[Question]) -> list[Answers | Exception]:
    passes.append(tuple(questions))
    time.sleep(0.01)
    return [
        DataError("bad") if "bad" in q.queries else [{"answer": f"{q.handle}:{query}"} for query in q.queries]
        for q in questions
    ]


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
    assert max(len(each) for each in passes) == 8
    assert sorted(q.queries[0] for each in passes for q in each) == list(range(40))


def test_neither_questions_nor_the_rest_wait_for_all_of_the_other() -> None:
    order: list[str] = []

    def predict(questions: Sequence[Question]) -> list[Answers | Exception]:
        order.append("pass")
        return slow(questions)

    async def run() -> None:
        batcher = Batcher(predict, max_queries=1)
        jobs = [batcher.compute(lambda: order.append("job")) for _ in range(4)]
        await asyncio.gather(*jobs, *(batcher.ask("a", [i]) for i in range(4)))
        assert await batcher.ask("a", [9]) == [{"answer": "a:9"}]  # it begins again
        batcher.close()

    asyncio.run(run())
    assert order == ["pass", "job"] * 4 + ["pass"]


def test_a_fault_is_the_askers_own() -> None:
    answers = asked([("a", [0]), ("a", ["bad"]), ("a", [2])])
    assert isinstance(answers[1], DataError)
    assert answers[0] == [{"answer": "a:0"}]
    assert answers[2] == [{"answer": "a:2"}]


def test_other_errors_reach_whoever_waits() -> None:
    def broken(questions: Sequence[Question]) -> list[Answers | Exception]:
        raise ZeroDivisionError

    async def run() -> None:
        batcher = Batcher(broken)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(batcher.ask("a", [1]), 5)
        batcher.close()

    asyncio.run(run())
