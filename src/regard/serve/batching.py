"""A few threads compute; questions that wait for one handle meanwhile are answered together, in one pass."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from regard.errors import RegardError

Answers = list[dict[str, Any]]


@dataclass
class Waiting:
    """A question that waits.

    Args:
        handle: of whom it is asked.
        queries: things to answer.
        answers: where the answers go, one per query.
    """

    handle: str
    queries: Sequence[Any]
    answers: asyncio.Future[Answers]


class Batcher:
    """Answers questions by a function that takes many.

    Args:
        predict: (handle, queries) to one answer per query; called in several threads.
        together: whether answers do not depend on the other queries, so that questions may share a pass.
        max_queries: most queries of one pass.
        n_threads: passes at once; the cores by default.
    """

    def __init__(
        self,
        predict: Callable[[str, Sequence[Any]], Answers],
        *,
        together: bool = True,
        max_queries: int = 1024,
        n_threads: int | None = None,
    ) -> None:
        self._predict, self._together, self._max_queries = predict, together, max_queries
        self._n_threads = n_threads or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(self._n_threads, "regard-predict")
        self._waiting: list[Waiting] = []
        self._working: set[asyncio.Task[None]] = set()
        self.n_passes = 0

    async def ask(self, handle: str, queries: Sequence[Any]) -> Answers:
        """One answer per query.

        Raises:
            RegardError: as the function; of other questions in the same pass none is heard.
        """
        question = Waiting(handle, queries, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        if len(self._working) < self._n_threads:
            task = asyncio.create_task(self._work())
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        return await question.answers

    async def compute(self, function: Callable[[], Any]) -> Any:
        """Run something else in the same threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    def close(self) -> None:
        """Let what is computed end."""
        self._threads.shutdown(wait=True)

    async def _work(self) -> None:
        while self._waiting:
            group = self._next_group()
            queries = [query for question in group for query in question.queries]
            self.n_passes += 1
            try:
                answers = await self.compute(lambda g=group, q=queries: self._predict(g[0].handle, q))
            except Exception as error:
                if len(group) > 1 and isinstance(error, RegardError):
                    # One of them is at fault: each alone, so that the others get their answers.
                    await self._one_by_one(group)
                    continue
                _give(group, error)
                continue
            start = 0
            for question in group:
                if not question.answers.done():  # the client may have gone
                    question.answers.set_result(answers[start : start + len(question.queries)])
                start += len(question.queries)

    async def _one_by_one(self, group: Sequence[Waiting]) -> None:
        for question in group:
            try:
                answers = await self.compute(lambda q=question: self._predict(q.handle, q.queries))
            except Exception as error:
                _give([question], error)
            else:
                if not question.answers.done():
                    question.answers.set_result(answers)

    def _next_group(self) -> list[Waiting]:
        """The question that waits longest, and others of its handle."""
        first = self._waiting.pop(0)
        group, n_queries = [first], len(first.queries)
        if self._together:
            for question in [q for q in self._waiting if q.handle == first.handle]:
                if n_queries + len(question.queries) > self._max_queries:
                    break
                group.append(question)
                n_queries += len(question.queries)
                self._waiting.remove(question)
        return group


def _give(group: Sequence[Waiting], error: Exception) -> None:
    for question in group:
        if not question.answers.done():
            question.answers.set_exception(error)
