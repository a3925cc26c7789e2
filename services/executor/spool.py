"""The spool: answers in hand, on disk while the database cannot take them, so that a crash loses none.

States of an answer: in memory; spooled (written and synced); stored, and so done. Nothing is written in the ordinary
case: an answer is spooled when recording it takes longer than :data:`PATIENCE_S`, at once while the database is known
to be away, and when whoever records it is cut off. Each process has a file of its own, ``<worker>.spool``, and holds
its lock for life; the kernel frees the lock when it dies, and ``recovery`` takes the file over.
What the database decides: all of it. The file is only a way to try again, and trying twice is recording once.
How it fails: a disk that is full or gone is an error in the log and counted as ``spool_failed``; the answer goes on
waiting in memory and is tried again. A failed write is cut away before the next one.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from services.executor import frames
from services.executor.in_hand import InHand
from services.runtime.coalesce import Coalescer
from services.runtime.durable import sync_folder
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.telemetry import Telemetry, describe

SUFFIX: Final = ".spool"
PATIENCE_S: Final = 1.0
"""How long an answer waits for the database in memory alone."""
TRY_AGAIN_S: Final = 5.0
"""How long after a failed write an answer that still waits is written again."""


_OPEN: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC


class _Change(NamedTuple):
    """One frame to write: an answer's, or, without a payload, that it is done."""

    claim: UUID
    payload: bytes | None


def lock(path: Path) -> int | None:
    """Lock the spool file of a process that is gone and return its descriptor; None where its owner lives.

    Raises ``OSError`` for a file that cannot be opened.
    """
    try:
        descriptor = os.open(path, _OPEN)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return _if_named(descriptor, path)


def _lock_of_one_s_own(path: Path) -> int:
    """Make a spool file and lock it. Between the two another process may take it for a dead one's, and remove it."""
    while True:
        descriptor = os.open(path, _OPEN | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if (locked := _if_named(descriptor, path)) is not None:
            return locked


def _if_named(descriptor: int, path: Path) -> int | None:
    """Return a locked file if it still has its name; else close it: who held the lock before has removed it."""
    try:
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except FileNotFoundError:
        pass
    os.close(descriptor)
    return None


class Spool:
    """This process's spool file. Made at the first write, or by :meth:`open`."""

    def __init__(self, folder: Path, worker: UUID, telemetry: Telemetry, *, patience_s: float = PATIENCE_S) -> None:
        """Describe the file of a worker; the folder is made with it."""
        self.path = folder / f"{worker}{SUFFIX}"
        self._telemetry = telemetry
        self._patience_s = patience_s
        self._outstanding: set[UUID] = set()
        self._file: int | None = None
        self._length = 0
        self._writing = asyncio.Lock()
        self._changes = Coalescer[_Change, bool](self._flush, most=500)

    @property
    def outstanding(self) -> int:
        """How many answers are on disk and not known to be stored."""
        return len(self._outstanding)

    async def open(self) -> None:
        """Make the file now, so that a folder that cannot be used shows at the start; never raises for that."""
        async with self._writing:
            try:
                await asyncio.to_thread(self._opened)
            except OSError as error:
                self._failed(error)

    async def close(self) -> int:
        """Give the file up, once no write is under way: removed, or left to recovery with so many answers in it."""
        async with self._writing:
            if self._file is not None:
                try:
                    if not self._outstanding:
                        self.path.unlink(missing_ok=True)
                finally:
                    os.close(self._file)
                    self._file = None
        return self.outstanding

    @asynccontextmanager
    async def keeping(self, answer: InHand, *, at_once: bool) -> AsyncIterator[None]:
        """While the body records an answer: have it on disk where that takes long, fails, or is cut off."""
        patience = 0.0 if at_once else self._patience_s
        waiting: list[asyncio.Task[None]] = []
        timer = asyncio.get_running_loop().call_later(
            patience, lambda: waiting.append(asyncio.create_task(self._keep_until_written(answer)))
        )
        try:
            yield
        except BaseException:
            await self._write(answer)
            raise
        finally:
            timer.cancel()
            for task in waiting:
                task.cancel()
        if waiting:
            # Also where its write is still under way: changes are made in the order in which they were asked for.
            await self._changes.ask(_Change(answer.claim, None))

    async def _keep_until_written(self, answer: InHand) -> None:
        while True:
            if await self._write(answer):
                return
            await asyncio.sleep(TRY_AGAIN_S)

    async def _write(self, answer: InHand) -> bool:
        return await self._changes.ask(_Change(answer.claim, answer.pack()))

    async def _flush(self, changes: Sequence[_Change]) -> Sequence[bool]:
        """Make some changes durable with one sync, and say of each whether it was made."""
        async with self._writing:
            stored = {change.claim for change in changes if change.payload is None}
            fresh = {
                change.claim: change.payload
                for change in changes
                if change.payload is not None and change.claim not in self._outstanding | stored
            }
            marks = [frames.done(claim) for claim in self._outstanding & stored]
            self._outstanding -= stored
            written = [frames.answer(claim, payload) for claim, payload in fresh.items()]
            try:
                if written or self._outstanding:
                    await asyncio.to_thread(self._append, marks + written, sync=bool(written))
                elif self._length:
                    await asyncio.to_thread(self._empty)
            except OSError as error:
                self._failed(error)
                return [change.claim not in fresh for change in changes]
            self._outstanding |= fresh.keys()
        if written:
            reach(FaultPoint.EXECUTOR_SPOOLED)
        return [True] * len(changes)

    def _append(self, written: Sequence[bytes], *, sync: bool) -> None:
        file = self._opened()
        os.ftruncate(file, self._length)  # a write that failed may have left a part of it
        length = self._length
        for frame in written:
            rest = memoryview(frame)
            while rest:
                rest = rest[os.write(file, rest) :]
            length += len(frame)
        if sync:
            os.fsync(file)
        self._length = length

    def _empty(self) -> None:
        os.ftruncate(self._opened(), 0)
        self._length = 0

    def _opened(self) -> int:
        if self._file is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = _lock_of_one_s_own(self.path)
            try:
                sync_folder(self.path.parent)
                self._length = os.fstat(file).st_size
            except OSError:
                os.close(file)
                raise
            self._file = file
        return self._file

    def _failed(self, error: OSError) -> None:
        self._telemetry.events.labels("spool_failed").inc()
        self._telemetry.log.error(
            "answers in hand cannot be kept on disk; they wait in memory",
            folder=str(self.path.parent),
            error=describe(error),
            errno=error.errno,
        )
