"""`waybill verify --facts` and `waybill facts rebuild`: what analysts read, compared with the entries and made anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import asyncpg
import typer

from services.cli.environment import settings as load_settings
from services.cli.facts.check import Checked, Difference, check
from services.cli.facts.rebuild import Rebuilt, rebuild
from services.cli.output import emit
from services.cli.records import select
from services.runtime.postgres import open_pool

MAX_LISTED: Final = 1_000
"""How many differences are told one by one; the rest is counted."""
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
T = TypeVar("T")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="The facts that analysts read, and the entries behind them.", no_args_is_help=True)
    group.command("rebuild")(rebuild_facts)
    app.add_typer(group, name="facts")


def verify(since: datetime | None, *, json: bool) -> bool:
    """Compare every row of facts with what the entries give, tell what differs, and say whether all is right."""
    differences: list[Difference] = []

    def found(difference: Difference) -> None:
        if len(differences) < MAX_LISTED:
            differences.append(difference)

    checked = asyncio.run(_with_pool(lambda pool: check(pool, since=since, found=found)))
    emit(
        {
            "records": checked.records,
            "rows": checked.rows,
            "differences": checked.differences,
            "listed": [_as_json(difference) for difference in differences],
        },
        json=json,
        text="\n".join([*map(str, differences), _summary(checked)]),
    )
    return not checked.differences


def _summary(checked: Checked) -> str:
    """Return what a comparison found, in one line."""
    counted = ", ".join(f"{count:,} of {table}" for table, count in checked.rows.items())
    if checked.differences:
        return f"{checked.differences:,} differences in {checked.records:,} records; rows: {counted}."
    return f"The facts of {checked.records:,} records are what their entries say; rows: {counted}."


def rebuild_facts(since: select.Since = None, json: Json = False) -> None:
    """Make the facts of whole months anew from the entries: of all, or from the month of --since on.

    Recorders wait for the moment in which a month's rows are exchanged.
    """
    months: list[Rebuilt] = []

    def done(month: Rebuilt) -> None:
        months.append(month)
        if not json:
            rows = ", ".join(f"{count:,} of {table}" for table, count in month.rows.items())
            typer.echo(f"{month.month:%Y-%m}: {rows}")

    begin = select.since_of(since)
    asyncio.run(_with_pool(lambda pool: rebuild(pool, since=begin, done=done)))
    content = [{"month": f"{month.month:%Y-%m}", "rows": month.rows} for month in months]
    emit({"rebuilt": content}, json=json, text="" if months else "There are no records.")


def _as_json(difference: Difference) -> dict[str, Any]:
    return {
        "table": difference.table,
        "record_id": str(difference.record_id),
        "key": difference.key,
        "what": difference.what,
        "stored": difference.stored,
        "rebuilt": difference.rebuilt,
    }


async def _with_pool(work: Callable[[asyncpg.Pool[Any]], Awaitable[T]]) -> T:
    pool = await open_pool(load_settings().database_url, service="cli", size=1)
    try:
        return await work(pool)
    finally:
        await pool.close()
