"""The tables of the database in memory, and the rows that queries give.

Rows are immutable, so a shallow copy of the maps is a snapshot of everything. Authority: the primary keys. What else
a table refuses is refused where its query stands (``memory_queries_*``, ``memory_facts``), with its exceptions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import asyncpg
from asyncpg.pgproto import pgproto

from services.runtime.ledger import Entry

K = TypeVar("K")
V = TypeVar("V")
# The columns of an argument, as `unnest` takes them.
Texts = Sequence[str]
Uuids = Sequence[UUID]
Bytes = Sequence[bytes]


class Row:
    """A row of an answer, as far as ``asyncpg.Record`` is used: by name, by place, unpacked, and as a mapping."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: Mapping[str, int], values: Sequence[Any]) -> None:
        """Take the place of each column, and the values."""
        self._places = places
        # The driver's UUIDs are of its own class, which serializers do not know: who forgets it must fail here too.
        self._values = tuple(pgproto.UUID(v.bytes) if isinstance(v, UUID) else v for v in values)

    def __getitem__(self, key: str | int | slice) -> Any:
        return self._values[self._places[key] if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Row | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return f"<Row {' '.join(self._places)}>"

    def keys(self) -> Iterable[str]:
        return self._places.keys()

    def values(self) -> Sequence[Any]:
        return self._values

    def items(self) -> Iterable[tuple[str, Any]]:
        return zip(self._places, self._values, strict=True)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self._places else default


class Key(NamedTuple):
    """A row of ``record.idempotency``."""

    tenant: str
    key_hmac: bytes
    payload_hmac: bytes | None
    record_id: UUID | None
    cancelled_at: datetime | None
    seen_at: datetime


class OpenRecord(NamedTuple):
    """A row of ``record.open_record``."""

    record_id: UUID
    tenant: str
    sweeps: int
    next_sweep_at: datetime


class Held(NamedTuple):
    """A row of ``record.held``."""

    record_id: UUID
    seq: int
    tenant: str
    reason: str
    due: datetime | None
    deadline: datetime
    held_at: datetime
    verdict: str | None = None
    actor: str | None = None


class LeaseRow(NamedTuple):
    """A row of ``record.lease``."""

    worker: UUID
    host: str
    started_at: datetime
    expires_at: datetime


class AsideRow(NamedTuple):
    """A row of ``record.aside``."""

    record_id: UUID
    entry_id: UUID
    kind: str
    data: str
    put_at: datetime


class ErasedSubject(NamedTuple):
    """A row of ``record.erased_subject``."""

    tenant: str
    subject_hmac: bytes
    erased_at: datetime
    refuse_until: datetime
    reason: str
    actor: str
    request: UUID | None
    horizon: bool = False


class Erasure(NamedTuple):
    """A row of ``record.erasure``."""

    record_id: UUID
    request: UUID
    tenant: str
    cause: str
    reason: str
    actor: str
    asked_at: datetime
    horizon: bool = False
    begun_at: datetime | None = None
    done_at: datetime | None = None


class WrappedKey(NamedTuple):
    """A row of ``keyring.record_key``."""

    record_id: UUID
    wrapped: bytes
    master_key: str


class TenantKey(NamedTuple):
    """A row of ``keyring.tenant_key``."""

    tenant: str
    wrapped: bytes
    master_key: str


Fact = Mapping[str, Any]
"""A row of a table of facts, by column."""


@dataclass(slots=True)
class Tables:
    """All tables, each by its primary key. Entries stand as whole chains; a chain is replaced, never changed."""

    entry: dict[UUID, Sequence[Entry]] = field(default_factory=dict)
    idempotency: dict[tuple[str, bytes], Key] = field(default_factory=dict)
    open_record: dict[UUID, OpenRecord] = field(default_factory=dict)
    held: dict[UUID, Held] = field(default_factory=dict)
    lease: dict[UUID, LeaseRow] = field(default_factory=dict)
    aside: dict[tuple[UUID, UUID], AsideRow] = field(default_factory=dict)
    content: dict[tuple[UUID, UUID, str], bytes] = field(default_factory=dict)
    record_key: dict[UUID, WrappedKey] = field(default_factory=dict)
    tenant_key: dict[str, TenantKey] = field(default_factory=dict)
    subject: dict[tuple[str, bytes, UUID], None] = field(default_factory=dict)
    replay: dict[UUID, UUID] = field(default_factory=dict)
    erased_subject: dict[tuple[str, bytes], ErasedSubject] = field(default_factory=dict)
    erasure: dict[UUID, Erasure] = field(default_factory=dict)
    facts_request: dict[tuple[Any, ...], Fact] = field(default_factory=dict)
    facts_attempt: dict[tuple[Any, ...], Fact] = field(default_factory=dict)
    facts_source: dict[tuple[Any, ...], Fact] = field(default_factory=dict)
    facts_feedback: dict[tuple[Any, ...], Fact] = field(default_factory=dict)

    def copy(self) -> Tables:
        """Return a snapshot: neither sees what is written to the other."""
        return replace(self, **{name: dict(getattr(self, name)) for name in self.__slots__})

    def is_sealed(self, record_id: UUID) -> bool:
        """Say whether a record has ended."""
        return any(entry.kind == "sealed" for entry in self.entry.get(record_id, ()))

    def content_of(self, key: tuple[UUID, UUID, str]) -> bytes | None:
        """Return content, unless it is being erased."""
        return None if key[0] in self.erasure else self.content.get(key)

    def is_cancelled(self, record_id: UUID) -> bool:
        """Say whether a key that leads to this record was cancelled."""
        return any(key.record_id == record_id and key.cancelled_at is not None for key in self.idempotency.values())


def insert(table: dict[K, V], key: K, row: V) -> None:
    """Insert a row; raises ``UniqueViolationError`` where its key stands already."""
    if key in table:
        raise asyncpg.UniqueViolationError("duplicate key value violates unique constraint")
    table[key] = row


def found(table: Mapping[K, V], keys: Iterable[K]) -> list[V]:
    """Return the rows of some keys, each once."""
    return [table[key] for key in dict.fromkeys(keys) if key in table]


def deleted(table: dict[K, V], keys: Iterable[K]) -> list[V]:
    """Delete the rows of some keys and return them."""
    return [table.pop(key) for key in dict.fromkeys(keys) if key in table]
