"""Draining what was put aside: late answers, corrections, erasures and feedback become entries of their sealed record.

The recorder is the only writer after ``sealed``; it reads the head and tries again when another recorder was faster. A
partial unique index keeps each late entry single. How it fails: a row that cannot be appended stays where it is, is an
error in the log, and is not looked at again by this process; it never keeps the others waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from schemas.codes import EntryKind
from services.recorder import facts
from services.recorder.stage import copy_facts
from services.runtime import ledger, queries
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.host import Host
from services.runtime.ledger import ChainWriter, Entry
from services.runtime.postgres import Connection, is_transient
from services.runtime.telemetry import describe

_SQL = queries.load("recorder")
AT_ONCE: Final = 100


class LateEntries:
    """Appends what others put aside."""

    def __init__(self, host: Host, clock: Callable[[], datetime]) -> None:
        """Take the host's parts and the clock that entries carry."""
        self._host = host
        self._clock = clock
        self._refused: set[UUID] = set()

    async def drain(self) -> int:
        """Append what is aside for sealed records, at most :data:`AT_ONCE`, and return how many were appended."""
        async with self._host.pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_SQL["lock_aside"], AT_ONCE, list(self._refused))
            appended = 0
            for row in rows:
                try:
                    async with connection.transaction():
                        appended += await self._append(connection, row)
                        reach(FaultPoint.RECORDER_LATE_APPENDED)
                except Exception as error:
                    if is_transient(error):
                        raise
                    self._refuse(row, error)
        return appended

    def _refuse(self, row: asyncpg.Record, error: Exception) -> None:
        self._refused.add(row["entry_id"])
        self._host.telemetry.events.labels("late_refused").inc()
        self._host.telemetry.log.error(
            "what lies aside cannot be appended",
            record_id=str(row["record_id"]),
            entry_id=str(row["entry_id"]),
            error=describe(error),
        )

    async def _append(self, connection: Connection, row: asyncpg.Record) -> bool:
        chain = (await ledger.read_chains(connection, [row["record_id"]]))[row["record_id"]]
        if all(entry.entry_id != row["entry_id"] for entry in chain):
            entry = await self._append_late(connection, row, chain)
            if entry is None:
                return False  # another recorder was faster: the row stays for the next look
            for table, fact in facts.late_rows(facts.parse(chain), facts.parse([entry])[0]):
                await copy_facts(connection, table, [fact])
        await connection.execute(_SQL["delete_aside"], row["record_id"], row["entry_id"])
        return True

    async def _append_late(self, connection: Connection, row: asyncpg.Record, chain: list[Entry]) -> Entry | None:
        now = self._clock()
        head = chain[-1].head
        data: dict[str, Any] = orjson.loads(row["data"])
        writer = ChainWriter(row["record_id"], head)
        entry = writer.add(EntryKind(row["kind"]), data, now, entry_id=row["entry_id"])
        met = await ledger.append(connection, [ledger.writes(writer, head, now)])
        return None if met else entry
