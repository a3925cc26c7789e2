"""The ledger: entries that form one hash chain per record, appended through the database's fence.

States of a record: open (its last entry is anything before ``sealed``), sealed, late (only late kinds follow).
What the database decides: whether an entry goes in. ``record.append`` inserts a chain only directly after the
predecessor that the writer names by position and hash; the primary key ``(record_id, seq)`` lets one writer win.
How it fails: a lost race is an answer, not an error. The stored rows come back, and the writer sees by their
``entry_id`` whether it met itself (a redelivery, an ambiguous commit) or has gone stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from schemas.entries import ENTRY_SCHEMA_VERSION
from schemas.messages import Head
from services.proof.merkle import hash_leaf
from services.runtime import queries
from services.runtime.ids import derive
from services.runtime.postgres import Connection
from services.runtime.vault import Content

_SQL = queries.load("ledger")
_OPTIONS = orjson.OPT_UTC_Z


class ChainHead(NamedTuple):
    """The last entry of a chain: what a message's ``Head`` says, without being a model; the hash is in hex."""

    seq: int
    hash: str


class Entry(NamedTuple):
    """One entry, ready to be stored or read back. ``body`` is the exact text that is hashed."""

    record_id: UUID
    seq: int
    entry_id: UUID
    kind: str
    body: str
    hash: bytes

    def content(self) -> dict[str, Any]:
        """Return the parsed body: envelope and ``data``."""
        parsed: dict[str, Any] = orjson.loads(self.body)
        return parsed

    @property
    def head(self) -> ChainHead:
        """This entry as the head of its chain."""
        return ChainHead(self.seq, self.hash.hex())


class ChainWriter:
    """Makes the next entries of one record, each bound to the one before it. Nothing is stored by it."""

    __slots__ = ("_prev", "_seq", "entries", "record_id")

    def __init__(self, record_id: UUID, head: Head | ChainHead | None = None) -> None:
        """Start after ``head``, or at the beginning of a new record."""
        self.record_id = record_id
        self._seq = -1 if head is None else head.seq
        self._prev = None if head is None else head.hash
        self.entries: list[Entry] = []

    def add(
        self,
        kind: str,
        data: Mapping[str, Any],
        at: datetime,
        *,
        entry_id: UUID | None = None,
        cause: str | int | None = None,
    ) -> Entry:
        """Append to the chain in memory. Without an ``entry_id`` it follows from the cause, by default the position."""
        seq = self._seq + 1
        entry_id = entry_id or derive(self.record_id, kind, seq if cause is None else cause)
        body = orjson.dumps(
            {
                "record_id": self.record_id,
                "seq": seq,
                "entry_id": entry_id,
                "kind": kind,
                "schema_version": ENTRY_SCHEMA_VERSION,
                "recorded_at": at,
                "prev_hash": self._prev,
                "data": data,
            },
            default=str,  # the driver's own UUID class
            option=_OPTIONS,
        )
        digest = hash_leaf(body)
        entry = Entry(self.record_id, seq, entry_id, kind, body.decode(), digest)
        self.entries.append(entry)
        self._seq, self._prev = seq, digest.hex()
        return entry


class Writes(NamedTuple):
    """A chain to append, in the form the database takes it."""

    entries: Sequence[Entry]
    prev: bytes | None
    at: datetime


def writes(writer: ChainWriter, head: Head | ChainHead | None, at: datetime) -> Writes:
    """Return what ``writer`` made as one append: its entries were all recorded at ``at``."""
    return Writes(writer.entries, None if head is None else bytes.fromhex(head.hash), at)


async def append(
    connection: Connection, chains: Iterable[Writes], contents: Sequence[Content] = ()
) -> dict[UUID, list[Entry]]:
    """Append chains, at most one per record, and return those that did not go in.

    ``contents`` go into the vault for the records whose chain went in, in the same statement.

    The result maps each record whose chain was *not* inserted to the rows stored from that position on, in order;
    empty where its predecessor is not the one named. Raises ``asyncpg.CheckViolationError`` when the entries given do
    not form a chain, and whatever else the database says: the caller's transaction is then lost as a whole.
    """
    records: list[UUID] = []
    seqs: list[int] = []
    ids: list[UUID] = []
    kinds: list[str] = []
    bodies: list[str] = []
    hashes: list[bytes] = []
    prevs: list[bytes | None] = []
    times: list[datetime] = []
    # Sorted, so that two writers lock in the same order.
    for chain in sorted(chains, key=lambda chain: chain.entries[0].record_id.int):
        prev = chain.prev
        for entry in chain.entries:
            records.append(entry.record_id)
            seqs.append(entry.seq)
            ids.append(entry.entry_id)
            kinds.append(entry.kind)
            bodies.append(entry.body)
            hashes.append(entry.hash)
            prevs.append(prev)
            times.append(chain.at)
            prev = entry.hash
    versions = [ENTRY_SCHEMA_VERSION] * len(records)
    columns: list[Sequence[Any]] = [records, seqs, ids, kinds, versions, bodies, hashes, prevs, times]
    columns += [list(column) for column in zip(*contents, strict=True)]
    rows = await connection.fetch(_SQL["append_with_content"] if contents else _SQL["append"], *columns)
    stored: dict[UUID, list[Entry]] = {}
    for row in rows:
        found = stored.setdefault(row["record_id"], [])
        if row["entry_id"] is not None:
            found.append(Entry(*row))
    return stored


async def read_chains(
    connection: Connection | asyncpg.Pool[Any], record_ids: Sequence[UUID]
) -> dict[UUID, list[Entry]]:
    """Return the whole chain of each record that exists, in order."""
    chains: dict[UUID, list[Entry]] = {}
    for row in await connection.fetch(_SQL["read_chains"], record_ids):
        chains.setdefault(row["record_id"], []).append(Entry(*row))
    return chains


def verify_chain(chain: Sequence[Entry]) -> str | None:
    """Return what is wrong with a chain as stored, or None: positions, hashes, links, and copies against the body."""
    prev: str | None = None
    for seq, entry in enumerate(chain):
        if entry.seq != seq:
            return f"entry {seq} is missing"
        if hash_leaf(entry.body.encode()) != entry.hash:
            return f"entry {seq}: its hash is not that of its body"
        body = entry.content()
        if body["prev_hash"] != prev:
            return f"entry {seq} does not follow the one before it"
        copies = (str(entry.record_id), entry.seq, str(entry.entry_id), entry.kind)
        if copies != (body["record_id"], body["seq"], body["entry_id"], body["kind"]):
            return f"entry {seq}: its columns differ from its body"
        prev = entry.hash.hex()
    return None
