"""The vault: encrypted content beside the record, keyed by the entry whose digest covers it.

States of a piece of content: there, or erased with its record's key. Rows are written in the transaction that appends
their entry, and only when that entry really went in; the recorder checks digests before it publishes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from services.runtime import queries
from services.runtime.postgres import Connection

JOB: Final = "job"
REQUEST: Final = "request"
"""A request as it was sent to a provider, under the claim whose digest covers it."""
OUTPUT: Final = "output"
REDACTED: Final = "redacted"
"""What a model reads of a job, without what was found in it, under the ``classified`` entry."""
_SQL = queries.load("vault")


class Content(NamedTuple):
    """One encrypted piece of content, as stored."""

    record_id: UUID
    entry_id: UUID
    kind: str
    ciphertext: bytes


async def store(connection: Connection, contents: Sequence[Content]) -> None:
    """Store content in the caller's transaction."""
    if contents:
        columns = zip(*contents, strict=True)
        await connection.execute(_SQL["store"], *(list(column) for column in columns))


async def load(pool: asyncpg.Pool[Any], wanted: Iterable[tuple[UUID, UUID, str]]) -> dict[tuple[UUID, str], Content]:
    """Return stored content by record and kind, for ``(record_id, entry_id, kind)`` triples; what is gone is absent."""
    triples = list(wanted)
    if not triples:
        return {}
    rows = await pool.fetch(_SQL["load"], *(list(column) for column in zip(*triples, strict=True)))
    return {(row["record_id"], row["kind"]): Content(*row) for row in rows}
