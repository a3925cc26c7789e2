"""One child process: started under the guard, waited for until ready, restarted when it dies, stopped in order.

    stopped ──start──▶ starting ──ready──▶ ready ──ends by itself──▶ waiting ──pause──▶ starting
       ▲                                                                                   │
       └───────────────────────────────── stop, from any state ◀───────────────────────────┘

A process that ends before it was ready for the first time is an error of the start, with the end of its log; later it
is started again, after a pause that doubles from 1 s to 30 s and is back at 1 s once it lived for a minute.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from services.runtime.errors import WaybillError
from services.standalone.errors import ProcessNotReadyError
from services.standalone.launch import failure, log_end, spawn
from services.standalone.state import StateFolder
from services.standalone.status import ProcessRef, ProcessState, ProcessStatus

log = structlog.get_logger()
PROBE_INTERVAL_SECONDS = 0.05


@dataclass(frozen=True)
class ProcessSpec:
    """What to run and how to tell that it is ready."""

    name: str
    arguments: tuple[str, ...]
    """The program's path and its arguments."""
    ready: Callable[[], Awaitable[bool]] | None = None
    """Asked again and again once it runs; without it, a process is ready when it has started."""
    before: Callable[[], None] | None = None
    """Done before every start: what a process that died may have left behind."""
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    user: tuple[int, int] | None = None
    """User and group id to run as."""
    http_addr: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    """What it gets when the supervisor is killed."""
    stop_seconds: float = 30.0
    """How long a stop may take before it is killed."""
    ready_seconds: float = 90.0


@dataclass
class Backoff:
    """The pauses between restarts, in seconds."""

    first: float = 1.0
    largest: float = 30.0
    healthy_after: float = 60.0
    _next: float = 0.0

    def pause(self, lived: float) -> float:
        """Return the pause after a process that lived for ``lived`` seconds."""
        pause = self.first if lived >= self.healthy_after or not self._next else self._next
        self._next = min(pause * 2, self.largest)
        return min(pause, self.largest)


class Supervised:
    """Keeps one process running. All methods belong to the supervisor's event loop."""

    def __init__(
        self,
        spec: ProcessSpec,
        folder: StateFolder,
        *,
        changed: Callable[[], None] = lambda: None,
        backoff: Backoff | None = None,
    ) -> None:
        self.spec = spec
        self.state = ProcessState.STOPPED
        self.restarts = 0
        self._folder = folder
        self._changed = changed
        self._backoff = backoff or Backoff()
        self._process: asyncio.subprocess.Process | None = None
        self._ref: ProcessRef | None = None
        self._keeper: asyncio.Task[None] | None = None

    def status(self) -> ProcessStatus:
        """Return what is known of it now."""
        return ProcessStatus(
            name=self.spec.name,
            pid=self._process.pid if self._process else None,
            state=self.state,
            restarts=self.restarts,
            http_addr=self.spec.http_addr,
            log=str(self._folder.log(self.spec.name)),
            ref=self._ref,
        )

    async def start(self) -> None:
        """Start it and return when it is ready; from then on it is kept running.

        Raises :class:`ProcessEndedError`, :class:`ProcessNotReadyError` or :class:`DiskFullError`; it has ended then.
        """
        started = time.monotonic()
        try:
            process = await self._spawn()
            await self._until_ready(process)
        except BaseException:
            await self._end()
            raise
        self._set(ProcessState.READY)
        self._keeper = asyncio.create_task(self._keep(process, started), name=f"keep {self.spec.name}")

    async def stop(self) -> None:
        """End it and whatever it started, and return when it is gone."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        await self._end()

    async def _keep(self, process: asyncio.subprocess.Process, started: float) -> None:
        while True:
            code = await process.wait()
            self._kill_group(process)
            self._process = self._ref = None
            log.warning("process_ended", process=self.spec.name, exit_status=code)
            process, started = await self._restart(lived=time.monotonic() - started)

    async def _restart(self, lived: float) -> tuple[asyncio.subprocess.Process, float]:
        """Try until it is ready again; return it and when it was started."""
        while True:
            self._set(ProcessState.WAITING)
            await asyncio.sleep(self._backoff.pause(lived))
            self.restarts += 1
            started = time.monotonic()
            try:
                process = await self._spawn()
                await self._until_ready(process)
            except Exception as error:  # whatever it is: giving up would leave the process down for good
                unexpected = not isinstance(error, WaybillError | OSError)
                log.warning("process_not_restarted", process=self.spec.name, error=str(error), exc_info=unexpected)
                await self._end()
                lived = time.monotonic() - started
                continue
            log.info("process_restarted", process=self.spec.name, restarts=self.restarts)
            self._set(ProcessState.READY)
            return process, started

    async def _spawn(self) -> asyncio.subprocess.Process:
        self._set(ProcessState.STARTING)
        if self.spec.before is not None:
            self.spec.before()
        output = self._folder.open_log(self.spec.name)
        try:
            self._process = await spawn(
                self.spec.arguments,
                output=output,
                environment=self.spec.environment,
                directory=self.spec.directory,
                user=self.spec.user,
                orphan_signal=self.spec.orphan_signal,
            )
        finally:
            os.close(output)
        self._ref = ProcessRef.of(self._process.pid)
        self._changed()
        return self._process

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        ended = asyncio.ensure_future(process.wait())
        probing = asyncio.ensure_future(self._probe())
        try:
            await asyncio.wait({ended, probing}, timeout=self.spec.ready_seconds, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise failure(
                    self._folder, self.spec.name, f"{self.spec.name} ended before it was ready", ended.result()
                )
            if not probing.done():
                raise ProcessNotReadyError(
                    f"{self.spec.name} was not ready after {self.spec.ready_seconds:.0f} s. "
                    f"Its log {log_end(self._folder, self.spec.name)}"
                )
            await probing
        finally:
            ended.cancel()
            probing.cancel()

    async def _probe(self) -> None:
        if self.spec.ready is None:
            return
        while True:
            if await self.spec.ready():
                return
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)

    async def _end(self) -> None:
        process, self._process, self._ref = self._process, None, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(self.spec.stop_signal)
            try:
                await asyncio.wait_for(process.wait(), self.spec.stop_seconds)
            except TimeoutError:
                log.warning("process_killed", process=self.spec.name, after_seconds=self.spec.stop_seconds)
        if process is not None:
            self._kill_group(process)
            await process.wait()
        self._set(ProcessState.STOPPED)

    @staticmethod
    def _kill_group(process: asyncio.subprocess.Process) -> None:
        # What it started and left behind; the group outlives its first process, so the id is not reused before.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    def _set(self, state: ProcessState) -> None:
        self.state = state
        self._changed()
