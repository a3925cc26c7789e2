"""Releasing held records: by a person's verdict, a cancel, the deadline, or their due time.

The router alone releases. It locks the held row, looks again, and deletes it in the transaction that appends
``released``; a hold of another ``seq`` than its verdict named cannot be hit, because the verdict was set under it.
What commits without being produced (a crash in between) is brought on by the sweeper.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from schemas.codes import EntryKind, Verdict
from schemas.entries import Released
from schemas.features import Features
from services.policy import Policy
from services.router.stage import decided, limits_of
from services.runtime import ledger, queries
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.host import Host
from services.runtime.kafka import Outgoing
from services.runtime.ledger import ChainWriter, Entry
from services.runtime.postgres import is_transient
from services.runtime.telemetry import describe
from services.runtime.wakeup import NOTIFY_ALL

_SQL = queries.load("router")
LOOK_EVERY_S: Final = 1.0
AT_ONCE: Final = 100
_GOES_ON: Final = frozenset({Verdict.DUE, Verdict.RETRY, Verdict.NOT_CHARGED})


class Releaser:
    """Brings on the held records that are due."""

    def __init__(self, host: Host, policy: Policy, clock: Callable[[], datetime]) -> None:
        """Take the host's parts, the policy to decide anew by, and the clock that entries carry."""
        self._host = host
        self._policy = policy
        self._clock = clock

    async def run(self) -> None:
        """Look every second; a database that is away is waited for."""
        while True:
            released = 0
            try:
                released = await self.release_due()
            except Exception as error:
                if not is_transient(error):
                    raise
                self._host.telemetry.log.warning("held records not looked at", error=describe(error))
            if released < AT_ONCE:
                await asyncio.sleep(LOOK_EVERY_S)

    async def release_due(self) -> int:
        """Release what is due, at most :data:`AT_ONCE`, and return how many rows were looked at."""
        async with self._host.pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_SQL["lock_due"], AT_ONCE)
            if not rows:
                return 0
            chains = await ledger.read_chains(connection, [row["record_id"] for row in rows])
            now = self._clock()
            writers = [(row, self._released(row, chains[row["record_id"]], now)) for row in rows]
            stale = await ledger.append(
                connection,
                [ledger.writes(writer, chains[row["record_id"]][-1].head, now) for row, writer in writers],
            )
            await connection.execute(_SQL["delete_held"], [row["record_id"] for row in rows])
            reach(FaultPoint.ROUTER_RELEASE_APPENDED)
        reach(FaultPoint.ROUTER_RELEASE_STORED)
        fresh = [(row, writer) for row, writer in writers if row["record_id"] not in stale]
        await self._host.producer.send(
            message for row, writer in fresh for message in self._wake(chains[row["record_id"]], writer, now)
        )
        reach(FaultPoint.ROUTER_RELEASE_PRODUCED)
        self._host.telemetry.events.labels("released").inc(len(fresh))
        return len(rows)

    def _released(self, row: asyncpg.Record, chain: Sequence[Entry], now: datetime) -> ChainWriter:
        """Return the chain's next entries: the release, and a new decision where the job goes on."""
        writer = ChainWriter(row["record_id"], chain[-1].head)
        verdict = Verdict(row["cause"])
        writer.add(EntryKind.RELEASED, Released(verdict=verdict, actor=row["actor"]), now)
        if verdict in _GOES_ON:
            classified = next(entry for entry in chain if entry.kind == EntryKind.CLASSIFIED)
            features = Features.model_validate(classified.content()["data"]["features"])
            limits = limits_of(self._host.tenants.current, features.tenant)
            writer.add(EntryKind.DECIDED, decided(self._policy.decide(features, limits)), now)
        return writer

    def _wake(self, chain: list[Entry], writer: ChainWriter, now: datetime) -> list[Outgoing]:
        """Return what a release calls for: the next stage, and a notice to a backend that asked for it."""
        message = self._host.wakeups.for_chain(chain + writer.entries)
        assert message is not None, "a released record always goes on or ends"
        received = chain[0].content()["data"]
        if received["notify"] != NOTIFY_ALL:
            return [message]
        verdict = writer.entries[0].content()["data"]["verdict"]
        return [message, self._host.wakeups.notice(received, chain[0].record_id, "released", now, verdict)]
