"""One thread computes, and questions that wait meanwhile are answered together, in one pass.

Several threads of small operations spend their time on handing Python's lock to each other: a pass of 200 questions
took seconds beside another, and a third of a second alone. Large operations use all cores by themselves.

Between two passes one other thing is computed, such as adapting: a crowd that adapts does not hold up questions, nor do
questions hold up the crowd.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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


class Batcher:
    """Answers questions by a function that takes many.

    Args:
        predict: questions to one answer per query of each, or the error of each; called in another thread.
        max_queries: most queries of one pass.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[Question]], Sequence[Answers | Exception]],
        *,
        max_queries: int = 1024,
    ) -> None:
        self._predict, self._max_queries = predict, max_queries
        self._thread = ThreadPoolExecutor(1, "regard-compute")
        self._questions: deque[tuple[Question, asyncio.Future[Answers]]] = deque()
        self._jobs: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._working: asyncio.Task[None] | None = None
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
        """Run something else in the same thread."""
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._jobs.append((function, result))
        self._begin()
        return await result

    def close(self) -> None:
        """Let what is computed end."""
        self._thread.shutdown(wait=True)

    def _begin(self) -> None:
        if self._working is None:
            self._working = asyncio.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._questions or self._jobs:
                if self._questions:
                    group = self._next_group()
                    self.n_passes += 1
                    predict = partial(self._predict, [question for question, _ in group])
                    await self._settle([answers for _, answers in group], predict)
                if self._jobs:
                    function, result = self._jobs.popleft()
                    await self._settle([result], lambda f=function: [f()])
        finally:
            # Here and not when the task is done, which is later: a question that came between would wait for nobody.
            self._working = None

    async def _settle(self, futures: Sequence[asyncio.Future[Any]], function: Callable[[], Sequence[Any]]) -> None:
        """Compute what is waited for, or the errors of it."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, function)
        except Exception as error:
            found = [error] * len(futures)
        for future, made in zip(futures, found, strict=True):
            if future.done():  # the client may have gone
                continue
            if isinstance(made, Exception):
                future.set_exception(made)
            else:
                future.set_result(made)

    def _next_group(self) -> list[tuple[Question, asyncio.Future[Answers]]]:
        """Those that wait longest, up to the size of a pass."""
        group = [self._questions.popleft()]
        n_queries = len(group[0][0].queries)
        while self._questions and n_queries + len(self._questions[0][0].queries) <= self._max_queries:
            group.append(self._questions.popleft())
            n_queries += len(group[-1][0].queries)
        return group
