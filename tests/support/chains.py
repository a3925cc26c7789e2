"""Chains of entries for tests that need entries and no service: minimal bodies, real hashes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from schemas.codes import EntryKind
from schemas.messages import Head
from services.runtime import ledger
from services.runtime.ledger import ChainHead, ChainWriter, Entry
from services.runtime.postgres import Connection

AT: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def received(record_id: UUID) -> ledger.Writes:
    """Return the first entry of a record."""
    return chain(record_id, [EntryKind.RECEIVED])


def chain(
    record_id: UUID, kinds: Sequence[str], head: Head | ChainHead | None = None, cause: str = ""
) -> ledger.Writes:
    """Return entries of these kinds after ``head``; another ``cause`` makes other entries."""
    writer = ChainWriter(record_id, head)
    for place, kind in enumerate(kinds):
        writer.add(kind, {"cause": cause, "text": 'ä€𝄞\u2028\\"  é'}, AT, cause=f"{cause}{place}")
    return ledger.writes(writer, head, AT)


async def appended(connection: Connection, *chains: ledger.Writes) -> list[Entry]:
    """Append chains that must go in, and return their last entries."""
    refused = await ledger.append(connection, chains)
    assert not refused, "a chain that the test needs was refused"
    return [one.entries[-1] for one in chains]
