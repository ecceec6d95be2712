"""A few threads compute; questions that wait meanwhile are answered together, in one pass.

Between two passes one other thing is computed, such as adapting: a crowd that adapts does not hold up questions, nor do
questions hold up the crowd.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

Answers = list[dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """What one client asks.

    Args:
        handle: of whom it is asked.
        queries: things to answer.
    """

    handle: str
    queries: Sequence[Any]


@dataclass(frozen=True)
class _Job:
    """A function that waits for a thread, and where its result goes."""

    function: Callable[[], Any]
    result: asyncio.Future[Any]


class Batcher:
    """Answers questions by a function that takes many.

    Args:
        predict: questions to one answer per query of each, or the error of each; called in several threads.
        max_queries: most queries of one pass.
        n_threads: passes at once; the cores by default.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[Question]], Sequence[Answers | Exception]],
        *,
        max_queries: int = 1024,
        n_threads: int | None = None,
    ) -> None:
        self._predict, self._max_queries = predict, max_queries
        self._n_threads = n_threads or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(self._n_threads, "regard-predict")
        self._questions: deque[tuple[Question, asyncio.Future[Answers]]] = deque()
        self._jobs: deque[_Job] = deque()
        self._working: set[asyncio.Task[None]] = set()
        self.n_passes = 0

    async def ask(self, handle: str, queries: Sequence[Any]) -> Answers:
        """One answer per query.

        Raises:
            RegardError: as the function says of this question; of others in the same pass none is heard.
        """
        answers: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        self._questions.append((Question(handle, queries), answers))
        self._begin()
        return await answers

    async def compute(self, function: Callable[[], Any]) -> Any:
        """Run something else in the same threads."""
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._jobs.append(_Job(function, result))
        self._begin()
        return await result

    def close(self) -> None:
        """Let what is computed end."""
        self._threads.shutdown(wait=True)

    def _begin(self) -> None:
        if len(self._working) < self._n_threads:
            task = asyncio.create_task(self._work())
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._questions or self._jobs:
            if self._questions:
                group = self._next_group()
                self.n_passes += 1
                try:
                    found = await loop.run_in_executor(self._threads, self._predict, [each for each, _ in group])
                except Exception as error:  # no fault of the questions
                    found = [error] * len(group)
                for (_, answers), made in zip(group, found, strict=True):
                    _give(answers, made)
            if self._jobs:
                job = self._jobs.popleft()
                try:
                    _give(job.result, await loop.run_in_executor(self._threads, job.function))
                except Exception as error:
                    _give(job.result, error)

    def _next_group(self) -> list[tuple[Question, asyncio.Future[Answers]]]:
        """Those that wait longest, up to the size of a pass."""
        group = [self._questions.popleft()]
        n_queries = len(group[0][0].queries)
        while self._questions and n_queries + len(self._questions[0][0].queries) <= self._max_queries:
            group.append(self._questions.popleft())
            n_queries += len(group[-1][0].queries)
        return group


def _give(future: asyncio.Future[Any], made: Any) -> None:
    if future.done():  # the client may have gone
        return
    if isinstance(made, Exception):
        future.set_exception(made)
    else:
        future.set_result(made)
