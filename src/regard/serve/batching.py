"""A few threads compute; questions that wait meanwhile are answered together, in one pass.

Other things, such as adapting, are computed in threads of their own: they wait for the disk, and questions do not.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

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
        self._others = ThreadPoolExecutor(self._n_threads, "regard-adapt")
        self._questions: deque[tuple[Question, asyncio.Future[Answers]]] = deque()
        self._working: set[asyncio.Task[None]] = set()
        self.n_passes = 0

    async def ask(self, handle: str, queries: Sequence[Any]) -> Answers:
        """One answer per query.

        Raises:
            RegardError: as the function says of this question; of others in the same pass none is heard.
        """
        answers: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        self._questions.append((Question(handle, queries), answers))
        if len(self._working) < self._n_threads:
            task = asyncio.create_task(self._work())
            self._working.add(task)
        return await answers

    async def compute(self, function: Callable[[], Any]) -> Any:
        """Run something else, in threads of which there are as many again."""
        return await asyncio.get_running_loop().run_in_executor(self._others, function)

    def close(self) -> None:
        """Let what is computed end."""
        self._threads.shutdown(wait=True)
        self._others.shutdown(wait=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._questions:
            group = self._next_group()
            self.n_passes += 1
            try:
                found = await loop.run_in_executor(self._threads, self._predict, [each for each, _ in group])
            except Exception as error:  # no fault of the questions
                found = [error] * len(group)
            for (_, answers), made in zip(group, found, strict=True):
                if answers.done():  # the client may have gone
                    continue
                if isinstance(made, Exception):
                    answers.set_exception(made)
                else:
                    answers.set_result(made)
        # Here and not when the task is done, which is later: a question that came between would wait for nobody.
        self._working.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _next_group(self) -> list[tuple[Question, asyncio.Future[Answers]]]:
        """Those that wait longest, up to the size of a pass."""
        group = [self._questions.popleft()]
        n_queries = len(group[0][0].queries)
        while self._questions and n_queries + len(self._questions[0][0].queries) <= self._max_queries:
            group.append(self._questions.popleft())
            n_queries += len(group[-1][0].queries)
        return group
