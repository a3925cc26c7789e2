"""`waybill demo`: the whole of Waybill once, from an empty folder to a record explained, leaving nothing behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from services.cli.environment import settings as load_settings
from services.cli.publishing.expected import Waiting
from services.cli.publishing.items import Refusal
from services.cli.publishing.lines import Format, open_source
from services.cli.publishing.run import Request, execute
from services.cli.publishing.sinks import Sinks
from services.cli.publishing.summary import Summary
from services.cli.publishing.watch import DeadLetter
from services.cli.records.record import explained
from services.cli.records.render import record_table
from services.runtime import ledger
from services.runtime.ledger import Entry
from services.runtime.postgres import open_pool
from services.runtime.settings import Settings

EXAMPLES: Final = Path("examples/jobs.jsonl")
PLAIN_WIDTH: Final = 132
PATIENCE: Final = timedelta(minutes=5)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    file: Annotated[Path, typer.Argument(help="Jobs to publish, as JSON lines.")] = EXAMPLES,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the stack's folder (its servers end all the same).")
    ] = False,
) -> None:
    """Start everything, publish the example jobs, show how each ended and one record entry by entry, and stop.

    Every model is simulated: nothing leaves this machine and nothing costs money.
    """
    # Imported here: an install without the standalone extra has all the other commands.
    from services.standalone.stack import Stack

    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    folder = Path(tempfile.mkdtemp(prefix="waybill-demo-"))
    stack = Stack(folder / "state")
    try:
        with console.status("starting") as status:
            stack.start(doing=status.update)
        console.print("Everything is up: PostgreSQL, Kafka, the provider simulator and the four services.\n")
        os.environ["WAYBILL_STATE_DIR"] = str(folder / "state")
        asyncio.run(_show(console, load_settings(), file))
    finally:
        with console.status("stopping"):
            stack.stop()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    console.print("\nStopped; nothing is left running. `waybill up` starts a stack that stays.")


async def _show(console: Console, settings: Settings, file: Path) -> None:
    results = Collected()
    with Live(console=console, refresh_per_second=8) as live:
        summary = Summary(waited=True)

        def progress(now: Summary) -> None:
            live.update(f"published {now.published} jobs, {now.statuses.total()} have ended")

        with open_source(file) as source:
            request = Request(source, Format.NATIVE, lambda _: None, wait=True, patience=PATIENCE)
            await execute(settings, request, results, summary, progress)
    console.print()
    console.print(results.table())
    console.print(f"\n{summary.as_text()}\n")
    shown = results.most_telling()
    if shown is not None:
        await _show_record(console, settings, shown)
    if not summary.statuses.total() == summary.published:
        raise typer.Exit(1)


async def _show_record(console: Console, settings: Settings, record_id: UUID) -> None:
    pool = await open_pool(settings.database_url, service="demo", size=1)
    try:
        chain: list[Entry] = (await ledger.read_chains(pool, [record_id]))[record_id]
    finally:
        await pool.close()
    console.print(f"One of these records, [bold]{record_id}[/], entry by entry:\n")
    console.print(record_table(chain))
    console.print("\nAnd in plain English, as `waybill explain` tells it:\n")
    console.print(explained(chain), markup=False)


@dataclass(slots=True)
class Line:
    """How one line of the file ended."""

    number: int
    key: str
    status: str
    detail: str
    route: str = ""
    attempts: str = ""
    cost: str = ""
    seconds: str = ""
    record_id: UUID | None = None


@dataclass
class Collected(Sinks):
    """Keeps how each line ended, for the table."""

    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(None, None, say=lambda text: None)

    def refuse(self, refusal: Refusal) -> None:
        """Keep a line that was not published."""
        self.lines.append(Line(refusal.line, "", "refused", refusal.sentence))

    def settle(self, waiting: Waiting, document: Mapping[str, Any]) -> None:
        """Keep a result."""
        route, error = document.get("route") or {}, document.get("error") or {}
        received, sealed = (datetime.fromisoformat(document[name]) for name in ("received_at", "sealed_at"))
        self.lines.append(
            Line(
                waiting.line,
                document.get("idempotency_key") or "",
                document["status"],
                " ".join(filter(None, (error.get("code"), error.get("field") and f"({error['field']})"))),
                f"{route['provider']}/{route['model']}" if route else "",
                str(document["attempts"]),
                f"${Decimal(document['cost_usd']):.6f}",
                f"{(sealed - received).total_seconds():.2f} s",
                UUID(document["record_id"]),
            )
        )

    def bury(self, waiting: Waiting, letter: DeadLetter) -> None:
        """Keep a line of which no record could be made."""
        self.lines.append(Line(waiting.line, "", "dead letter", letter.reason))

    def table(self) -> Table:
        """Return how each line ended, in the order of the file."""
        table = Table(show_edge=False, pad_edge=False, header_style="dim")
        for column in ("line", "key", "status", "why", "route", "tries", "cost", "time"):
            table.add_column(
                column, no_wrap=column != "why", justify="right" if column in ("line", "tries") else "left"
            )
        colours = {"succeeded": "green", "failed": "red", "rejected": "yellow"}
        for line in sorted(self.lines, key=lambda line: line.number):
            status = f"[{colours.get(line.status, 'magenta')}]{line.status}[/]"
            table.add_row(
                str(line.number), line.key, status, line.detail, line.route, line.attempts, line.cost, line.seconds
            )
        return table

    def most_telling(self) -> UUID | None:
        """Return the record to show: one that succeeded after a fallback, else the one with the most attempts."""
        records = [line for line in self.lines if line.record_id is not None]
        best = max(records, key=lambda line: (line.status == "succeeded", int(line.attempts)), default=None)
        return best.record_id if best else None
