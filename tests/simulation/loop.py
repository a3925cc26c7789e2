"""An event loop without a machine under it: virtual time, no sockets, no threads, the same run for the same input.

When nothing is ready, time jumps to the next timer. Ready callbacks run first in, first out, as asyncio promises: code
may rely on that order, so a simulation that broke it would find what cannot happen. What is drawn from the seed is
when the answers of the ports come, and that decides every order that production leaves open.

Every callback belongs to the process whose context it was made in (:data:`PROCESS`). A dead process's callbacks are
never run: it stops between any two of them, as it would at SIGKILL. A frozen one's are kept and run in their order when
it thaws, as at SIGSTOP and SIGCONT. How it fails: a loop that has nothing left to do raises :class:`DeadlockError`.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, Final, Protocol


class DeadlockError(AssertionError):
    """Nothing is ready and no timer runs, but the run is not over."""


class Owner(Protocol):
    """A process, as the loop sees it."""

    def admits(self, handle: events.Handle) -> bool:
        """Say whether a callback may run now; a frozen process keeps it, a dead one drops it."""


PROCESS: Final[ContextVar[Owner | None]] = ContextVar("process", default=None)
"""Whose context this is; None is the world's own."""


class _NumberedTask(asyncio.Task[Any]):
    """A task whose hash is its number: a set of tasks then has the same order in every run."""

    def __init__(self, number: int, coroutine: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number


class SimulationLoop(asyncio.BaseEventLoop):
    """The loop of one run."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self.failures: Final[list[BaseException]] = []
        """What a callback raised, or a task of the world's own: the simulation itself is broken."""
        self._tasks: list[asyncio.Task[Any]] = []
        self._ready: Any
        self._scheduled: list[Any]
        self._stopping: bool

    def time(self) -> float:
        """Return virtual seconds since the beginning."""
        return self._now

    def create_task(  # type: ignore[override]
        self, coroutine: Any, *, name: object = None, context: Context | None = None, **options: Any
    ) -> asyncio.Task[Any]:
        """Make a task, and keep it: one that is collected unfinished would run its `finally` blocks after its death."""
        task = _NumberedTask(len(self._tasks), coroutine, loop=self, name=str(name), context=context)
        self._tasks.append(task)
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run work for a thread at once: it is pure, and how long it takes is the ports' business."""
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what a callback raised. What nobody asked for is no failure: those who would have asked may be dead."""
        if "handle" in context:
            self.failures.append(context["exception"])

    def bury(self) -> None:
        """End what is left of a run, without letting it do anything more."""
        if self.is_closed():
            return
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                try:
                    task.get_coro().close()
                except RuntimeError:
                    continue  # it awaits something on its way out, and that will not come
        self._ready.clear()
        self._scheduled.clear()
        self.close()

    def _run_once(self) -> None:
        ready = self._ready
        if not ready:
            self._advance()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            owner = handle._context.get(PROCESS)
            if owner is None or owner.admits(handle):
                handle._run()

    def _advance(self) -> None:
        """Jump to the next timer, and make ready all that are due then."""
        scheduled = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not scheduled:
            if self._stopping:
                return
            raise DeadlockError("nothing is ready and no timer runs")
        self._now = max(self._now, scheduled[0].when())
        while scheduled and scheduled[0].when() <= self._now:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            if not timer._cancelled:
                self._ready.append(timer)

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets."""
