"""Making the facts of whole months anew, from the entries.

States of a month: as it is ─▶ fresh tables are filled beside it, in short transactions ─▶ recorders wait, what they
wrote meanwhile is made too, and the fresh tables take the partitions' place, all in one transaction. How it fails: a
rebuild that is interrupted before that last step has changed nothing, and the next one begins anew. The database
decides who may: the functions it calls belong to the owner of the tables.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import asyncpg

from services.cli.facts.walk import before, read_page, rows_of
from services.cli.months import moment_of, month_of, next_month
from services.recorder import facts
from services.runtime import queries
from services.runtime.errors import WaybillError
from services.runtime.ids import first_record_id
from services.runtime.postgres import Connection

_SQL = queries.load("facts")
_MIGRATE = queries.load("migrate")
AROUND: Final = timedelta(days=1)
"""A record's id is made a moment before it is received: around a month's turn they can fall into two months."""
SWAP_TIMEOUT_S: Final = 600


class RebuildError(WaybillError):
    """The facts could not be rebuilt; those that were there are unchanged."""

    hint = "Use a member of the role waybill_owner, as for `waybill migrate`; see docs/runbooks/default-partition.md."


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One month made anew; ``rows`` counts by table."""

    month: date
    rows: Mapping[str, int]


async def rebuild(pool: asyncpg.Pool[Any], *, since: datetime | None = None, done: Callable[[Rebuilt], None]) -> None:
    """Rebuild every month that has records, from the month of ``since`` on; ``done`` gets each.

    Raises :class:`RebuildError`; the months before stay rebuilt.
    """
    start = None if since is None else month_of(since)
    first = await pool.fetchval(_SQL["first_record"], before(start))
    last = await pool.fetchval(_SQL["last_record"])
    if first is None:
        return
    month, end = month_of(moment_of(first)), moment_of(last) + AROUND
    while month <= end:
        try:
            done(await _rebuild_month(pool, month))
        except (asyncpg.InsufficientPrivilegeError, asyncpg.RaiseError, asyncpg.LockNotAvailableError) as error:
            raise RebuildError(f"the facts of {month:%Y-%m} were not rebuilt: {error}") from error
        month = next_month(month)


async def _rebuild_month(pool: asyncpg.Pool[Any], month: datetime) -> Rebuilt:
    end = next_month(month)
    async with pool.acquire() as connection:
        async with _as_owner(connection):
            await connection.execute(_SQL["begin_rebuild"], month.date())
        after, last = before(month - AROUND), first_record_id(end + AROUND)
        while after < last:
            async with _as_owner(connection):
                page = await read_page(connection, after, last)
                await _copy(connection, month, end, page.rows)
            after = page.until
        async with _as_owner(connection):
            await connection.execute(_MIGRATE["timeouts"])
            missed = await connection.fetch(_SQL["missed_by_rebuild"], month.date(), timeout=SWAP_TIMEOUT_S)
            ids = [row["record_id"] for row in missed]
            await connection.execute(_SQL["forget_rebuilt"], month.date(), ids)
            await _copy(connection, month, end, await rows_of(connection, ids))
            counts = await connection.fetch(_SQL["finish_rebuild"], month.date(), timeout=SWAP_TIMEOUT_S)
    return Rebuilt(month.date(), {row["name"]: row["rows"] for row in counts})


@asynccontextmanager
async def _as_owner(connection: Connection) -> AsyncIterator[None]:
    """Hold a transaction and the owner's rights; they end together."""
    async with connection.transaction():
        await connection.execute(_MIGRATE["act_as_owner"])
        yield


async def _copy(
    connection: Connection, month: datetime, end: datetime, rows: Mapping[str, Sequence[facts.Row]]
) -> None:
    """Append the rows of a month to its fresh tables."""
    for table, columns in facts.TABLES.items():
        received_at = columns.index("received_at")
        ours = [row for row in rows[table] if month <= row[received_at] < end]
        if ours:
            fresh = f"{table}_{month:%Y_%m}_fresh"
            await connection.copy_records_to_table(fresh, schema_name="facts", columns=list(columns), records=ours)
