"""`waybill held list|release`: records that wait for a person.

A release sets the verdict on the hold that was looked at; the router then appends it and brings the record on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.runtime import queries
from services.runtime.errors import WaybillError
from services.runtime.postgres import open_pool

_SQL = queries.load("cli_records")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class NotHeldError(WaybillError):
    """The record is not held, or somebody has given a verdict already."""

    hint = "`waybill held list` shows what waits now."


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="Records that wait.", no_args_is_help=True)
    group.command("list")(list_held)
    group.command("release")(release)
    app.add_typer(group, name="held")


def list_held(limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100, json: Json = False) -> None:
    """List what waits, longest first."""
    rows = asyncio.run(_fetch("held", limit))
    if json:
        emit({"held": [dict(row) for row in rows]}, json=True, text="")
        return
    table = Table("record", "seq", "tenant", "reason", "held at", "due", "deadline", "verdict", show_edge=False)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in list(row.values())[:8]))
    Console().print(table if rows else "Nothing waits.")


def release(
    record_id: Annotated[UUID, typer.Argument(help="The record.", metavar="ID")],
    verdict: Annotated[
        Literal["retry", "charged", "not-charged"],
        typer.Option("--as", help="what became of the call in doubt: retry it, or end it as charged, or go on"),
    ],
    seq: Annotated[int | None, typer.Option("--seq", help="the hold looked at; default: the present one")] = None,
    json: Json = False,
) -> None:
    """Give a verdict on a record in doubt: `charged` ends it, `retry` and `not-charged` try it again."""
    asyncio.run(_release(record_id, seq, verdict.replace("-", "_")))
    emit({"record_id": str(record_id), "verdict": verdict}, json=json, text=f"{record_id} will be released: {verdict}")


async def _release(record_id: UUID, seq: int | None, verdict: str) -> None:
    if seq is None:
        rows = await _fetch("held", 100_000)
        seq = next((row["seq"] for row in rows if row["record_id"] == record_id), None)
        if seq is None:
            raise NotHeldError(f"{record_id} is not held")
    if not await _fetch("set_verdict", record_id, seq, verdict):
        raise NotHeldError(f"{record_id} is not held at {seq} without a verdict")


async def _fetch(query: str, *arguments: Any) -> Sequence[asyncpg.Record]:
    pool = await open_pool(load_settings().database_url, service="cli", size=1)
    try:
        return list(await pool.fetch(_SQL[query], *arguments))
    finally:
        await pool.close()
