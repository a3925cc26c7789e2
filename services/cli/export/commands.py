"""`waybill export`: facts as Parquet files with a manifest a month, for whatever reads such files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from services.cli.environment import settings as load_settings
from services.cli.export.errors import ExtraMissingError
from services.cli.output import emit
from services.cli.records import select
from services.runtime.ids import now
from services.runtime.postgres import open_pool

if TYPE_CHECKING:
    from services.cli.export.run import Month


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    out: Annotated[Path, typer.Option("--out", help="The folder to write into.", file_okay=False)],
    since: select.Since = None,
    file_format: Annotated[Literal["parquet"], typer.Option("--format")] = "parquet",
    include_open: Annotated[
        bool, typer.Option("--open", help="Months too that have not ended, or have records in flight.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Export the facts of whole months, from that of --since on: a file for each table, and a manifest.

    What was exported before and has not changed is kept as it is.
    """
    months: list[Month] = []

    def done(month: Month) -> None:
        months.append(month)
        if not json:
            typer.echo(_line(month))

    asyncio.run(_export(out, select.since_of(since), done, include_open=include_open))
    content = [
        {"month": month.name, "what": month.what, "manifest": month.manifest and month.manifest.model_dump(mode="json")}
        for month in months
    ]
    emit({"format": file_format, "months": content}, json=json, text="" if months else "No record has ended.")


def _line(month: Month) -> str:
    if month.manifest is None:
        return f"{month.name}: still open, left out; --open exports it as it is"
    rows = sum(file.rows for file in month.manifest.files)
    size = sum(file.bytes for file in month.manifest.files) / 1e6
    words = {"written": "written", "kept": "has not changed, kept"}
    return f"{month.name}: {rows:,} rows, {size:,.1f} MB, {words[month.what]}"


async def _export(out: Path, since: datetime | None, done: Callable[[Month], None], *, include_open: bool) -> None:
    try:
        from services.cli.export.run import Export
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise ExtraMissingError from None
    pool = await open_pool(load_settings().database_url, service="cli", size=1)
    try:
        await Export(pool, out, now).run(since=since, include_open=include_open, done=done)
    finally:
        await pool.close()
