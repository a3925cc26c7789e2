"""What the executor asks of Postgres, coalesced: reading jobs, appending chains, putting things aside.

Hundreds of tasks are in work at once; each asks for its own record, and each flush is one transaction. A database that
is away is waited for: an answer in hand is worth more than a free slot, and meanwhile the spool has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import orjson

from schemas.codes import EntryKind
from services.runtime import ledger, queries, vault
from services.runtime.coalesce import Coalescer
from services.runtime.ids import derive
from services.runtime.keyring import ContentDamagedError, Keyring, RecordKey
from services.runtime.ledger import Entry, Writes
from services.runtime.postgres import blames_a_row, is_transient
from services.runtime.telemetry import Telemetry, describe
from services.runtime.vault import Content

_SQL = queries.load("executor")
BACKOFF_S: Final = (0.05, 0.2, 0.5, 1.0, 2.0)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as read from the vault. ``job`` is None where its content has been erased or is damaged."""

    job: dict[str, Any] | None
    key: RecordKey | None
    cancelled: bool


@dataclass(frozen=True, slots=True)
class HeldRow:
    """The row that owns a record while it waits."""

    record_id: UUID
    seq: int
    tenant: str
    reason: str
    due: datetime | None
    deadline: datetime


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """One chain to append, with the side rows to write only if it goes in."""

    chain: Writes
    content: Content | None = None
    held: HeldRow | None = None


@dataclass(frozen=True, slots=True)
class Aside:
    """What a worker learned of a record that it no longer owns."""

    record_id: UUID
    entry_id: UUID
    kind: str
    data: dict[str, Any]
    content: Content | None


class Store:
    """The executor's view of the database."""

    def __init__(self, pool: asyncpg.Pool[Any], keyring: Keyring, telemetry: Telemetry) -> None:
        """Use a pool and the keyring."""
        self._pool = pool
        self._keyring = keyring
        self._telemetry = telemetry
        self.away = False
        """Whether the database did not answer when it was last asked."""
        self._reader = Coalescer[UUID, StoredJob](self._read_jobs, most=200, parallel=2)
        self._appender = Coalescer[AppendRequest, list[Entry] | None](
            self._append, most=200, parallel=2, blames=blames_a_row
        )

    async def read_job(self, record_id: UUID) -> StoredJob:
        """Return a record's job, its key, and whether it was cancelled."""
        return await self._reader.ask(record_id)

    async def append(self, request: AppendRequest) -> list[Entry] | None:
        """Append a chain; None if it went in, else the rows stored from its position on, in order."""
        return await self._appender.ask(request)

    async def read_chain(self, record_id: UUID) -> list[Entry]:
        """Return a record's whole chain."""
        chains = await self.patiently(lambda: ledger.read_chains(self._pool, [record_id]))
        return chains.get(record_id, [])

    async def read_key(self, record_id: UUID) -> RecordKey | None:
        """Return a record's key; None once its content has been erased."""
        return (await self.patiently(lambda: self._keyring.load([record_id]))).get(record_id)

    async def put_aside(self, aside: Aside) -> None:
        """Keep what a fenced worker learned, once, with its content."""

        async def work() -> None:
            async with self._pool.acquire() as connection, connection.transaction():
                data = orjson.dumps(aside.data, default=str).decode()
                await connection.execute(_SQL["put_aside"], aside.record_id, aside.entry_id, aside.kind, data)
                if aside.content is not None:  # after something was written: see vault.store
                    await vault.store(connection, [aside.content])

        await self.patiently(work)

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what ``work`` does, once the database answers; raises what does not pass by itself."""
        tries = 0
        while True:
            try:
                answer = await work()
            except Exception as error:
                if not is_transient(error):
                    raise
                self.away = True
                if tries == 0:
                    self._telemetry.log.warning("Postgres does not answer, waiting", error=describe(error))
                await asyncio.sleep(BACKOFF_S[min(tries, len(BACKOFF_S) - 1)])
                tries += 1
            else:
                self.away = False
                return answer

    async def _read_jobs(self, record_ids: Sequence[UUID]) -> Sequence[StoredJob]:
        wanted = list(dict.fromkeys(record_ids))
        entries = [derive(record_id, EntryKind.RECEIVED, 0) for record_id in wanted]
        keys, rows = await asyncio.gather(
            self.patiently(lambda: self._keyring.load(wanted)),
            self.patiently(lambda: self._pool.fetch(_SQL["read_jobs"], wanted, entries)),
        )
        found = {row["record_id"]: row for row in rows}
        jobs = {
            record_id: _opened(found.get(record_id), keys.get(record_id), entry)
            for record_id, entry in zip(wanted, entries, strict=True)
        }
        return [jobs[record_id] for record_id in record_ids]

    async def _append(self, requests: Sequence[AppendRequest]) -> Sequence[list[Entry] | None]:
        answers: list[list[Entry] | None] = [None] * len(requests)
        waiting = list(enumerate(requests))
        while waiting:
            # One chain per record and transaction: a duplicate in work here meets what the first one stored.
            first: dict[UUID, tuple[int, AppendRequest]] = {}
            for index, request in waiting:
                first.setdefault(request.chain.entries[0].record_id, (index, request))
            now = [request for _, request in first.values()]
            stored = await self.patiently(lambda now=now: self._append_once(now))  # type: ignore[misc]
            for record_id, (index, _) in first.items():
                answers[index] = stored.get(record_id)
            taken = {index for index, _ in first.values()}
            waiting = [item for item in waiting if item[0] not in taken]
        return answers

    async def _append_once(self, requests: Sequence[AppendRequest]) -> dict[UUID, list[Entry]]:
        contents = await self._keepable([request.content for request in requests if request.content])
        async with self._pool.acquire() as connection:
            if not any(request.held for request in requests):
                return await ledger.append(connection, [request.chain for request in requests], contents)
            async with connection.transaction():
                stored = await ledger.append(connection, [request.chain for request in requests], contents)
                fresh = [request for request in requests if request.chain.entries[0].record_id not in stored]
                held = [request.held for request in fresh if request.held]
                if held:
                    columns = zip(
                        *((h.record_id, h.seq, h.tenant, h.reason, h.due, h.deadline) for h in held), strict=True
                    )
                    await connection.execute(_SQL["hold"], *(list(column) for column in columns))
                return stored

    async def _keepable(self, contents: Sequence[Content]) -> list[Content]:
        """Return content but that whose key has gone since it was encrypted: its record was erased.

        A call lasts minutes, so outputs are asked about; a request is made with a key that was read just before.
        """
        outputs = {content.record_id for content in contents if content.kind != vault.REQUEST}
        keys = await self._keyring.load(list(outputs)) if outputs else {}
        return [content for content in contents if content.kind == vault.REQUEST or content.record_id in keys]


def _opened(row: asyncpg.Record | None, key: RecordKey | None, entry_id: UUID) -> StoredJob:
    cancelled = row is not None and row["cancelled"]
    if row is None or key is None or row["ciphertext"] is None:
        return StoredJob(None, None, cancelled)
    try:
        job = orjson.loads(key.decrypt(entry_id, vault.JOB, row["ciphertext"]))
    except ContentDamagedError:
        return StoredJob(None, None, cancelled)
    return StoredJob(job, key, cancelled)
