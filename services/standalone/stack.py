"""A stack as the command line and the tests see it: start, stop, status of one state folder.

Several stacks can run at once, each in its own folder. Nothing here keeps state: the folder does.
"""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from services.standalone import DEFAULT_STATE_DIR
from services.standalone.errors import (
    StackBusyError,
    StackNotRunningError,
    StackStartError,
    StackStopError,
    StackWaitError,
    error_named,
)
from services.standalone.jars import Progress, ensure_jars
from services.standalone.launch import log_end
from services.standalone.logins import url_of
from services.standalone.plan import DEFAULT_PLAN, load_plan
from services.standalone.postgres import NAME as POSTGRES
from services.standalone.state import StateFolder, StateLock
from services.standalone.status import POLL_SECONDS, Part, ProcessRef, ProcessStatus, StackState, StackStatus
from services.standalone.supervisor import Report, Supervisor, configure_logging, first_error

START_SECONDS = 600.0
STOP_SECONDS = 120.0
ORPHAN_SECONDS = 30.0
APPEAR_SECONDS = 15.0
WAIT_SECONDS = 60.0


class Stack:
    """The stack of one state folder, whoever started it."""

    ALL_PARTS = frozenset(Part)
    SERVERS_ONLY = frozenset({Part.POSTGRES, Part.KAFKA})

    def __init__(self, state_dir: Path = DEFAULT_STATE_DIR, *, plan: str = DEFAULT_PLAN) -> None:
        """``plan`` names, as ``module:function``, what runs beside PostgreSQL and Kafka."""
        self.folder = StateFolder.at(state_dir)
        self._plan = plan

    def start(
        self,
        parts: Iterable[Part] = ALL_PARTS,
        *,
        doing: Callable[[str], None] = lambda text: None,
        jars: Progress | None = None,
    ) -> StackStatus:
        """Start it and return when all is ready, leaving one supervisor process behind; if it runs, just say how it is.

        ``DATABASE_URL`` and ``KAFKA_BOOTSTRAP_SERVERS`` in the environment take the place of those parts.
        Raises a :class:`StackError`; nothing is left running then.
        """
        parts = frozenset(parts)
        if (status := self.status()).running:
            if missing := parts.difference(status.parts):
                raise StackBusyError(
                    f"The stack in {self.folder.root} is up, without {', '.join(sorted(missing))}.",
                    hint="Stop it first with `waybill down`; its data stays.",
                )
            return status
        lock = self._enter(parts, jars)
        reading, writing = os.pipe()
        try:
            self._spawn(parts, lock, writing)
        finally:
            os.close(writing)
            lock.close()
        try:
            self._until_ready(_reports(reading), doing)
        except BaseException:
            self.stop()
            raise
        finally:
            os.close(reading)
        return self.status()

    def run(
        self,
        parts: Iterable[Part] = ALL_PARTS,
        *,
        doing: Callable[[str], None] = lambda text: None,
        ready: Callable[[StackStatus], None] = lambda status: None,
        jars: Progress | None = None,
    ) -> None:
        """Run it in this process (its main thread) until SIGINT or SIGTERM; raises a :class:`StackError`."""
        parts = frozenset(parts)
        configure_logging()
        lock = self._enter(parts, jars)

        def report(line: Report) -> None:
            if line.ready:
                ready(self.status())
            elif line.doing:
                doing(line.doing)

        try:
            asyncio.run(Supervisor(self.folder, parts, load_plan(self._plan), report=report).run())
        except BaseExceptionGroup as group:
            raise first_error(group) from group
        finally:
            lock.close()

    def stop(self) -> None:
        """Stop it and return when every process has ended; no error if it does not run.

        Raises :class:`StackStopError`.
        """
        supervisor = self._supervisor()
        if supervisor is not None:
            _end_process(supervisor, STOP_SECONDS)
        self._end_leftovers()

    def status(self) -> StackStatus:
        """Return how it is. What the folder says counts only while its lock is held."""
        held = StateLock.held(self.folder)
        status = self.folder.read_status()
        if not held:
            return StackStatus(state=StackState.DOWN, state_dir=str(self.folder.root))
        if status.supervisor is None or status.supervisor.find() is None:
            return StackStatus(state=StackState.STARTING, state_dir=str(self.folder.root))
        return status

    def database_url_of(self, login: str) -> str:
        """Return the embedded database's address as another login than people's; raises :class:`StackNotRunningError`.

        As the administrator for tests and repairs; as a service for one more process of it.
        """
        if not self.status().running:
            raise StackNotRunningError
        port = self.folder.read_ports().chosen[POSTGRES]
        return url_of(login, self.folder.read_postgres_password(), port)

    def wait_until(self, condition: Callable[[StackStatus], bool], seconds: float = WAIT_SECONDS) -> StackStatus:
        """Return the first status that fulfils ``condition``; raises :class:`StackWaitError` after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not condition(status := self.status()):
            if time.monotonic() > deadline:
                raise StackWaitError(f"{StackWaitError.__doc__} After {seconds:.0f} s it is {status.state}.")
            time.sleep(POLL_SECONDS)
        return status

    def _enter(self, parts: frozenset[Part], jars: Progress | None) -> StateLock:
        """Do what needs no supervisor and take the lock; the folder is ours then and nothing runs in it."""
        if Part.KAFKA in parts and not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
            ensure_jars(progress=jars)
        self.folder.create()
        try:
            lock = StateLock.take(self.folder)
        except StackBusyError:
            raise StackBusyError(f"The stack in {self.folder.root} is {self.status().state} already.") from None
        try:
            self._end_leftovers()
        except BaseException:
            lock.close()
            raise
        return lock

    def _spawn(self, parts: frozenset[Part], lock: StateLock, report: int) -> None:
        """Start the supervisor, which takes over the lock; it detaches itself at once."""
        output = self.folder.open_log("supervisor")
        try:
            subprocess.run(
                [
                    *(sys.executable, "-m", "services.standalone.supervisor"),
                    *("--state-dir", str(self.folder.root), "--plan", self._plan),
                    *(argument for part in sorted(parts) for argument in ("--part", part)),
                    *("--lock-fd", str(lock.descriptor), "--report-fd", str(report)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock.descriptor, report),
                start_new_session=True,
                check=False,  # whether it came up, it says through the pipe
            )
        finally:
            os.close(output)

    def _until_ready(self, reports: Iterator[Report], doing: Callable[[str], None]) -> None:
        for report in reports:
            if report.ready:
                return
            if report.error:
                raise error_named(report.error_class)(report.error, hint=report.hint)
            doing(report.doing)
        raise StackStartError(
            f"The supervisor ended before all was ready. Its log {log_end(self.folder, 'supervisor')}"
        )

    def _supervisor(self) -> ProcessRef | None:
        """Return the supervisor, or None if there is none; a start that goes on is given time to say who it is."""
        deadline = time.monotonic() + APPEAR_SECONDS
        while StateLock.held(self.folder):
            ref = self.folder.read_status().supervisor
            if ref is not None and ref.find() is not None:
                return ref
            if time.monotonic() > deadline:
                raise StackStopError(f"Somebody holds the lock of {self.folder.root}, and does not say who it is.")
            time.sleep(POLL_SECONDS)
        return None

    def _end_leftovers(self) -> None:
        """End what an earlier supervisor may have left: nothing, where the guards did their work."""
        for process in self.folder.read_status().processes:
            if process.ref is not None:
                _end_process(process.ref, ORPHAN_SECONDS)


def _end_process(ref: ProcessRef, seconds: float) -> None:
    """Ask a process to end, kill it after ``seconds``, return when it is gone."""
    process = ref.find()
    if process is None:
        return
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        if not ref.ends_within(seconds):
            process.kill()
    if not ref.ends_within(ORPHAN_SECONDS):
        raise StackStopError(f"Process {ref.pid} did not end, not even when killed.")


def _reports(pipe: int) -> Iterator[Report]:
    """Yield the supervisor's lines until it closes the pipe; :class:`StackStartError` if it says nothing for long."""
    rest = b""
    while True:
        readable, _, _ = select.select([pipe], [], [], START_SECONDS)
        if not readable:
            raise StackStartError(f"The supervisor said nothing for {START_SECONDS:.0f} s.")
        chunk = os.read(pipe, 65536)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield Report.model_validate_json(line)


__all__ = ["Part", "ProcessStatus", "Stack", "StackState", "StackStatus"]
