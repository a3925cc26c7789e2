"""Comparing every stored row of facts with the row that the entries give.

A page is read as of one moment, in a transaction of its own: a recorder that seals meanwhile makes no difference, and
no transaction stays open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from services.cli.facts.walk import NEWEST, Page, before, read_page
from services.recorder import facts
from services.runtime import queries

_SQL = queries.load("facts")
KEYS: Final = {"request": (), "attempt": ("seq",), "source": ("position",), "feedback": ("seq",)}
"""What tells the rows of one record apart, by table."""
_JSON: Final = frozenset({"labels", "held_seconds"})
_Key = tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not what the entries say: ``missing`` from the table, ``extra`` in it, or other in one column."""

    table: str
    record_id: UUID
    key: tuple[int, ...]
    """Its ``seq`` or ``position``; empty for a request."""
    what: str
    """``missing``, ``extra``, or the name of the column."""
    stored: Any = None
    rebuilt: Any = None

    def __str__(self) -> str:
        row = f"facts.{self.table} {self.record_id}{''.join(f' {part}' for part in self.key)}"
        if self.what in ("missing", "extra"):
            return f"{row}: {self.what}"
        return f"{row}: {self.what} is {self.stored!s}, and the entries say {self.rebuilt!s}"


@dataclass(slots=True)
class Checked:
    """What was compared; ``rows`` counts stored rows by table."""

    records: int = 0
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(facts.TABLES, 0))
    differences: int = 0


async def check(
    pool: asyncpg.Pool[Any], *, since: datetime | None = None, found: Callable[[Difference], None]
) -> Checked:
    """Compare the facts of all records received since a moment with their entries; ``found`` gets each difference."""
    checked = Checked()
    after = before(since)
    while after < NEWEST:
        async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            page = await read_page(connection, after, NEWEST)
            stored = {
                table: await connection.fetch(_SQL[f"{table}_between"], page.after, page.until)
                for table in facts.TABLES
            }
        checked.records += page.records
        for table, rows in stored.items():
            checked.rows[table] += len(rows)
        for difference in _differences(page, stored):
            checked.differences += 1
            found(difference)
        after = page.until
    return checked


def _differences(page: Page, stored: Mapping[str, list[asyncpg.Record]]) -> Iterator[Difference]:
    for table, columns in facts.TABLES.items():
        there = {_key(table, row): row for row in stored[table]}
        rebuilt = [dict(zip(columns, row, strict=True)) for row in page.rows[table]]
        for row in rebuilt:
            record_id, *key = _key(table, row)
            found = there.pop((record_id, *key), None)
            if found is None:
                yield Difference(table, record_id, tuple(key), "missing")
                continue
            for column in columns:
                is_there, is_due = _plain(column, found[column]), _plain(column, row[column])
                if is_there != is_due:
                    yield Difference(table, record_id, tuple(key), column, is_there, is_due)
        for record_id, *key in there:
            yield Difference(table, record_id, tuple(key), "extra")


def _key(table: str, row: Mapping[str, Any] | asyncpg.Record) -> Any:
    return (row["record_id"], *(row[column] for column in KEYS[table]))


def _plain(column: str, value: Any) -> Any:
    """Return a value as it is compared: JSON by its meaning, whatever text the database makes of it."""
    return orjson.loads(value) if column in _JSON else value
