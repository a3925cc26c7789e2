"""Recovery: what dead processes left in their spool files is recorded, as they would have recorded it.

It runs before the executor consumes, and every :data:`EVERY_S` for processes on this machine that die meanwhile: their
file's lock is free. A recovered answer goes behind the head that it carries; where others have gone on, it goes aside
with its cost. After it the stage that goes on is woken, for the message that called for it may be used up.
The file is only read, and removed when all of it is recorded: so it needs no room on a disk that is full.
How it fails: it may end anywhere and be done again, for recording twice is recording once; the lock only saves work. A
file with a part that cannot be read, that the database refuses, or whose record it does not know, is kept as
``<worker>.damaged`` once all else in it is recorded: an error in the log, counted as ``spool_damaged``, and no reason
not to start.
"""

from __future__ import annotations

import asyncio
import mmap
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

from services.executor import frames
from services.executor.in_hand import InHand
from services.executor.recording import Recording
from services.executor.spool import SUFFIX, lock
from services.executor.store import Store
from services.runtime.errors import WaybillError
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.faults import blames_an_item
from services.runtime.kafka import Outgoing
from services.runtime.keyring import ContentDamagedError
from services.runtime.ledger import ChainHead
from services.runtime.telemetry import Telemetry, describe
from services.runtime.wakeup import Wakeups

EVERY_S: Final = 5.0
"""How often it looks whether another process has died."""
AT_ONCE: Final = 100
"""How many answers of a file are in work together: each may have 8 MB."""
DAMAGED: Final = ".damaged"


class UnknownRecordError(WaybillError):
    """The database has no record to which an answer on disk belongs."""

    hint = (
        "Give each deployment a WAYBILL_SPOOL_DIR of its own; after a restore the file is all there is of the answer."
    )


class Recovery:
    """Records the answers in spool files whose owner is dead."""

    def __init__(
        self,
        folder: Path,
        recording: Recording,
        store: Store,
        wakeups: Wakeups,
        send: Callable[[Outgoing], Awaitable[None]],
        telemetry: Telemetry,
    ) -> None:
        """Look in ``folder``; ``send`` wakes the stage that goes on."""
        self._folder = folder
        self._recording = recording
        self._store = store
        self._wakeups = wakeups
        self._send = send
        self._telemetry = telemetry

    async def run(self) -> None:
        """Recover every so often."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.recover()

    async def recover(self) -> int:
        """Record what every dead process left; return how many answers that were."""
        recovered = 0
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                file = lock(path)
                if file is not None:
                    try:
                        recovered += await self._take_over(path, file)
                    finally:
                        os.close(file)
            except OSError as error:
                self._telemetry.events.labels("spool_failed").inc()
                self._telemetry.log.error("a spool file cannot be used", file=path.name, error=describe(error))
        return recovered

    async def _take_over(self, path: Path, file: int) -> int:
        recovered = 0
        with _contents(file) as data:
            log = frames.read(data)
            claims = list(log.outstanding)
            for first in range(0, len(claims), AT_ONCE):
                some = [(claim, data[slice(*log.outstanding[claim])]) for claim in claims[first : first + AT_ONCE]]
                # All of them end before the file is given up, whatever becomes of one.
                outcomes = await asyncio.gather(*(self._recover(*one) for one in some), return_exceptions=True)
                for outcome in outcomes:
                    if isinstance(outcome, BaseException):
                        raise outcome
                    recovered += outcome
        self._put_away(path, unreadable=log.damaged, refused=len(claims) - recovered)
        if recovered:
            self._telemetry.log.warning("answers of a process that died are recorded", answers=recovered)
        return recovered

    def _put_away(self, path: Path, *, unreadable: int, refused: int) -> None:
        if not unreadable and not refused:
            path.unlink()
            return
        kept = path.rename(path.with_suffix(DAMAGED))
        self._telemetry.events.labels("spool_damaged").inc()
        self._telemetry.log.error(
            "a spool file holds what cannot be recorded; it is kept",
            file=kept.name,
            unreadable=unreadable,
            refused=refused,
        )

    async def _recover(self, claim: UUID, payload: bytes) -> bool:
        """Record one answer; False where it cannot be recorded, now or later."""
        try:
            answer = InHand.unpack(payload)
            if not await self._store.read_chain(answer.record_id):
                raise UnknownRecordError
            head = await self._recording.settle(answer)
        except Exception as error:
            if not (blames_an_item(error) or isinstance(error, ContentDamagedError | UnknownRecordError)):
                raise
            self._telemetry.log.error("an answer cannot be recorded", claim=str(claim), error=describe(error))
            return False
        reach(FaultPoint.EXECUTOR_RECOVERED)
        self._telemetry.events.labels("answer_recovered").inc()
        if head is not None:
            await self._wake(answer.record_id, head)
        return True

    async def _wake(self, record_id: UUID, head: ChainHead) -> None:
        chain = await self._store.read_chain(record_id)
        message = self._wakeups.for_chain(chain) if chain[-1].head == head else None
        if message is not None:
            await self._send(message)


@contextmanager
def _contents(file: int) -> Iterator[bytes | mmap.mmap]:
    """Map a file, and unmap it at the end: a map that outlived the descriptor would keep the lock."""
    if os.fstat(file).st_size == 0:
        yield b""
        return
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as data:
        yield data
