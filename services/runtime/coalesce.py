"""Coalescing: many tasks' small requests to the database become one statement.

Requests gather while a flush is under way, so that the batch grows with the load and nothing waits for a timer. Each
task learns its own outcome. How it fails: an error of the database reaches every task of that flush; a flush refused
because of a row is halved until the culprit alone learns it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from services.runtime.slices import halving

Q = TypeVar("Q")
R = TypeVar("R")


class Coalescer(Generic[Q, R]):
    """Gathers requests and answers them in flushes of at most ``most``, at most ``parallel`` at once."""

    def __init__(
        self,
        flush: Callable[[Sequence[Q]], Awaitable[Sequence[R]]],
        *,
        most: int = 200,
        parallel: int = 1,
        linger_s: float = 0.0,
        blames: Callable[[BaseException], bool] = lambda error: False,
    ) -> None:
        """``flush`` returns one answer per request, in order."""
        self._flush = flush
        self._most = most
        self._blames = blames
        self._linger_s = linger_s
        self._waiting: deque[tuple[Q, asyncio.Future[R]]] = deque()
        self._slots = parallel
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, request: Q) -> R:
        """Return the answer to one request, or raise what its flush raised."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._slots:
            self._slots -= 1
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                # One turn of the loop, or a few milliseconds, lets the other tasks that are ready join this flush.
                await asyncio.sleep(self._linger_s)
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                if batch:  # else another worker took them all
                    await self._answer(batch)
        finally:
            self._slots += 1

    async def _answer(self, batch: Sequence[tuple[Q, asyncio.Future[R]]]) -> None:
        async def poisoned(request: Q, error: BaseException) -> Sequence[R | BaseException]:
            return [error]

        async def work(requests: Sequence[Q]) -> Sequence[R | BaseException]:
            return await self._flush(requests)

        try:
            answers = await halving([request for request, _ in batch], work, blames=self._blames, poisoned=poisoned)
        except Exception as error:
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
