"""The lease of one executor process: while its row lives, by the database's clock, its open claims are its own.

States: held (renewed within its time), doubtful (a renewal failed; no new call is started), lost (the row expired), and
released (deleted on a clean stop). A process that starts again is another worker.

What holds whatever the clocks say: the database alone decides whose lease lives, and only lengths of time are compared,
never two clocks. Ours runs from before a renewal was asked for and ends a renewal early: while we believe in the lease,
the row lives. A process that was stopped, or had to wait for an answer, finds its belief run out, and starts no call
before a renewal that it asked for afterwards has come back; only a suspended machine stops our clock too. A call may
outlive the lease: it is renewed meanwhile, and if it cannot be, the claim is in doubt to others and the answer goes
where the fence says. The lease saves double payments; that none is silent rests on the chain.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from services.runtime import queries
from services.runtime.ids import new_worker_id
from services.runtime.postgres import is_transient
from services.runtime.surroundings import monotonic
from services.runtime.telemetry import Telemetry, describe

RENEWALS_PER_LEASE = 4
_SQL = queries.load("lease")


class Lease:
    """This process's lease, renewed in the background."""

    def __init__(self, pool: asyncpg.Pool[Any], telemetry: Telemetry, *, seconds: float) -> None:
        """Describe a lease of so many seconds for a new worker."""
        self.worker: UUID = new_worker_id()
        self._pool = pool
        self._telemetry = telemetry
        self._seconds = seconds
        self._valid_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self._renewed = asyncio.Condition()

    @property
    def valid(self) -> bool:
        """Whether a call may be started: the lease surely lives for another renewal."""
        return monotonic() < self._valid_until

    async def until_valid(self) -> None:
        """Wait until a call may be started."""
        if not self.valid:
            async with self._renewed:
                await self._renewed.wait_for(lambda: self.valid)

    async def start(self) -> None:
        """Take the lease and keep renewing it."""
        await self._renew()
        self._task = asyncio.create_task(self._renew_regularly())

    async def stop(self, *, release: bool = True) -> None:
        """Give the lease up: open claims of this worker are in doubt from now on, or else once the row expires."""
        if self._task is not None:
            self._task.cancel()
        self._valid_until = 0.0
        if release:
            await self._pool.execute(_SQL["release"], self.worker)

    async def alive(self, workers: Sequence[UUID]) -> set[UUID]:
        """Return those of the workers whose lease lives by the database's clock."""
        return await living(self._pool, workers)

    async def _renew(self) -> None:
        asked = monotonic()
        await self._pool.execute(_SQL["renew"], self.worker, socket.gethostname(), timedelta(seconds=self._seconds))
        # Counted from before the question, less one renewal: the row lives longer than we believe it does.
        self._valid_until = asked + self._seconds * (1 - 1 / RENEWALS_PER_LEASE)
        async with self._renewed:
            self._renewed.notify_all()

    async def _renew_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / RENEWALS_PER_LEASE)
            try:
                await self._renew()
            except Exception as error:
                # Whatever it is, no call starts until a renewal succeeds; a loop that ended here would never let one.
                log = self._telemetry.log.warning if is_transient(error) else self._telemetry.log.error
                log("lease not renewed", error=describe(error))


async def living(pool: asyncpg.Pool[Any], workers: Sequence[UUID]) -> set[UUID]:
    """Return those of the workers whose lease lives by the database's clock."""
    return {row["worker"] for row in await pool.fetch(_SQL["alive"], workers)}
