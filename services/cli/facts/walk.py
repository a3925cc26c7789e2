"""Walking sealed records a page at a time, each page the rows that its chains have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from services.recorder import facts
from services.runtime import ledger, queries
from services.runtime.ids import first_record_id
from services.runtime.postgres import Connection

_SQL = queries.load("facts")
PAGE: Final = 2_000
NEWEST: Final = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class Page:
    """The sealed records with ids over ``after`` and up to ``until``, and their rows by table."""

    after: UUID
    until: UUID
    records: int
    rows: Mapping[str, Sequence[facts.Row]]


def before(moment: datetime | None) -> UUID:
    """Return the id after which the records of a moment begin; without one, those of all times."""
    return UUID(int=first_record_id(moment).int - 1) if moment else UUID(int=0)


async def read_page(connection: Connection, after: UUID, last: UUID, size: int = PAGE) -> Page:
    """Return the next page of records with ids over ``after`` and below ``last``; the last page is until ``last``."""
    ids = [row["record_id"] for row in await connection.fetch(_SQL["sealed_between"], after, last, size)]
    rows = await rows_of(connection, ids)
    return Page(after, ids[-1] if len(ids) == size else last, len(ids), rows)


async def rows_of(connection: Connection, ids: Sequence[UUID]) -> dict[str, list[facts.Row]]:
    """Return the rows of some records, by table."""
    rows: dict[str, list[facts.Row]] = {table: [] for table in facts.TABLES}
    for chain in (await ledger.read_chains(connection, ids)).values():
        for table, found in facts.rows_of(facts.parse(chain)).items():
            rows[table] += found
    return rows
