"""Questions that wait share a pass, get their own answers, and do not share their faults."""

from __future__ import annotations

import asyncio
import threading
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


def test_questions_do_not_wait_for_what_is_slow() -> None:
    async def run() -> None:
        batcher, ended = Batcher(slow, n_threads=1), threading.Event()
        job = asyncio.create_task(batcher.compute(lambda: ended.wait(5)))
        await asyncio.sleep(0)
        assert await asyncio.wait_for(batcher.ask("a", [1]), 3) == [{"answer": "a:1"}]
        ended.set()
        assert await job
        batcher.close()

    asyncio.run(run())


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
