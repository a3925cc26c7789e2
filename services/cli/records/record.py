"""`waybill record list|show` and `waybill explain`: what happened to a job, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import orjson
import typer
from rich.console import Console
from rich.table import Table

from schemas.codes import EntryKind
from schemas.decision import Decision, NoRoute
from schemas.features import Features
from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.cli.records import content, erase, proof, select
from services.cli.records.correct import correct
from services.cli.records.render import record_table
from services.cli.verification.command import DAMAGED
from services.policy import explain as explain_decision
from services.proof.proof_file import Access
from services.runtime import ledger, queries, vault
from services.runtime.ledger import Entry
from services.runtime.postgres import open_pool
from services.runtime.settings import Settings

_SQL = queries.load("cli_records")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Ids = Annotated[list[UUID] | None, typer.Argument(help="Ids of records.", metavar="ID...")]
_Read = tuple[list[Entry], list[asyncpg.Record]]
"""A record's chain, and what replays it."""
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000)]


@dataclass(frozen=True, slots=True)
class _Shown:
    """One record, and what was read with it; ``pieces`` is None where content was not asked for."""

    chain: Sequence[Entry]
    replays: Sequence[asyncpg.Record]
    access_log: Sequence[Access]
    pieces: Sequence[content.Piece] | None
    kind: str | None = None
    """Which kind of content alone was asked for."""


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="The AI request record.", no_args_is_help=True)
    group.command("list")(list_records)
    group.command("show")(show)
    group.command("correct")(correct)
    group.command("verify")(proof.verify)
    group.command("export")(proof.export)
    group.command("erase")(erase.erase)
    app.add_typer(group, name="record")
    app.command("explain")(explain)


def list_records(
    status: select.Status = None,
    error_code: select.ErrorCode = None,
    failure_class: select.FailureClass = None,
    tenant: select.Tenant = None,
    route: select.Route = None,
    since: select.Since = None,
    in_flight: Annotated[bool, typer.Option("--in-flight", help="Those without a result instead.")] = False,
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """List records, newest first: those that ended, or with --in-flight those that have not."""
    selection = select.Selection(status, error_code, failure_class, tenant, route, select.since_of(since))
    rows = asyncio.run(_list(selection, in_flight=in_flight, limit=limit))
    if json:
        emit({"records": [dict(row) for row in rows]}, json=True, text="")
        return
    Console(soft_wrap=True).print(_table(rows, in_flight=in_flight) if rows else "No record matches.")


def _table(rows: Sequence[asyncpg.Record], *, in_flight: bool) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="dim")
    names = ("record", "received", "tenant", "last entry", "waits for") if in_flight else (
        "record", "sealed", "tenant", "status", "error", "route", "tries", "cost"
    )  # fmt: skip
    for name in names:
        table.add_column(name, no_wrap=True)
    for row in rows:
        cells: tuple[Any, ...]
        if in_flight:
            cells = (row["received_at"], row["tenant"], row["last_kind"], row["held_reason"])
        else:
            route = f"{row['provider']}/{row['model']}" if row["provider"] else None
            cells = (
                row["sealed_at"],
                row["tenant"],
                row["status"],
                row["error_code"],
                route,
                row["attempts"],
                f"${row['cost_usd']}",
            )
        shown = (f"{cell:%m-%d %H:%M:%S}" if isinstance(cell, datetime) else str(cell or "") for cell in cells)
        table.add_row(str(row["record_id"]), *shown)
    return table


async def _list(selection: select.Selection, *, in_flight: bool, limit: int) -> Sequence[asyncpg.Record]:
    pool = await open_pool(load_settings().database_url, service="cli", size=1)
    try:
        if in_flight:
            return await pool.fetch(_SQL["in_flight"], selection.tenant, limit)
        return await select.select(pool, selection, limit)
    finally:
        await pool.close()


def show(
    ids: Ids = None,
    key: select.Keys = None,
    with_content: Annotated[
        bool, typer.Option("--content", help="Show content too: jobs, requests as they were sent, and outputs.")
    ] = False,
    redacted: Annotated[
        bool, typer.Option("--redacted", help="Show jobs too, with placeholders for all that was found in them.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why you read content; it stays in the access log.")] = "",
    json: Json = False,
) -> None:
    """Show records entry by entry, who read their content, and check that each chain is intact as shown.

    With --content and --reason it shows what was asked and answered, each compared with its entry's digest; with
    --redacted instead only the jobs, without what was found in them. Where nothing was, there is no such text. That
    nothing was removed from a chain's end is not proved here: `waybill record verify` and `waybill verify` do.
    """
    if with_content and redacted:
        raise typer.BadParameter("either all content or the redacted jobs", param_hint="--redacted")
    reads = with_content or redacted
    if reason and not reads:
        raise typer.BadParameter(
            "is the reason for reading content: add --content or --redacted", param_hint="--reason"
        )
    kind = vault.REDACTED if redacted else None
    records = asyncio.run(_show(ids or [], key or [], reason if reads else None, kind))
    if json:
        emit({"records": [_as_json(record) for record in records]}, json=True, text="")
    else:
        _print(records)
    if any(piece.content is None or piece.matches is False for record in records for piece in record.pieces or ()):
        raise typer.Exit(DAMAGED)


def _print(records: Sequence[_Shown]) -> None:
    console = Console(highlight=False)
    for record in records:
        chain, replays = record.chain, record.replays
        console.print(f"[bold]record {chain[0].record_id}[/]")
        console.print(record_table(chain))
        fault = ledger.verify_chain(chain)
        console.print(f"[red]damaged: {fault}[/]" if fault else "[dim]the chain is intact as shown[/]")
        for replay in replays:
            console.print(f"replayed by {replay['record_id']}: {replay['status']}")
        for line in _readings(record.access_log):
            console.print(line, markup=False)
        for piece in record.pieces or ():
            console.print(f"\n[bold]{piece.kind}[/] of entry {piece.seq}: {piece.verdict}")
            console.print(piece.text(), markup=False, soft_wrap=True)
        if record.pieces == []:
            console.print(_without(record))
        console.print()


def _without(record: _Shown) -> str:
    """Say why nothing is shown."""
    redactable = any("redaction" in entry.content()["data"] for entry in record.chain)
    erased = any(entry.kind == EntryKind.ERASED for entry in record.chain)
    if record.kind == vault.REDACTED and not redactable and not erased:
        return "nothing was found in it, so that there is no redacted text: --content shows the job"
    return "its content has been erased"


def _readings(log: Sequence[Access]) -> list[str]:
    """Return a line for each reading of content."""
    kinds: dict[tuple[str, str, str], list[str]] = {}
    for access in log:
        kinds.setdefault((access.login, access.at[:19], access.reason), []).append(access.kind)
    return [
        f"content read by {login} at {at}Z ({', '.join(dict.fromkeys(read))}): {content.printable(reason)}"
        for (login, at, reason), read in kinds.items()
    ]


def explain(ids: Ids = None, key: select.Keys = None, json: Json = False) -> None:
    """Explain in plain English why a job was handled as it was: the decision, its limits, and what happened then."""
    texts = {str(chain[0].record_id): explained(chain) for chain, _ in asyncio.run(_read(ids or [], key or []))}
    emit(
        {"explanations": [{"record_id": record_id, "text": text} for record_id, text in texts.items()]},
        json=json,
        text="\n\n".join(texts.values()),
    )


async def _read(ids: Sequence[UUID], keys: Sequence[str]) -> list[_Read]:
    settings = load_settings()
    pool = await open_pool(settings.database_url, service="cli", size=1)
    try:
        return await _records(pool, settings, ids, keys)
    finally:
        await pool.close()


async def _records(
    pool: asyncpg.Pool[Any], settings: Settings, ids: Sequence[UUID], keys: Sequence[str]
) -> list[_Read]:
    if not ids and not keys:
        raise typer.BadParameter("name a record, or a job by --key TENANT/KEY", param_hint="ID")
    wanted = await select.resolve(pool, settings, ids, keys)
    chains = await ledger.read_chains(pool, wanted)
    for record_id in wanted:
        if record_id not in chains:
            raise select.NoSuchRecordError(f"there is no record {record_id}")
    return [(chains[r], list(await pool.fetch(_SQL["replays_of"], r))) for r in wanted]


async def _show(ids: Sequence[UUID], keys: Sequence[str], reason: str | None, kind: str | None) -> list[_Shown]:
    settings = load_settings()
    pool = await open_pool(settings.database_url, service="cli", size=1)
    try:
        records = await _records(pool, settings, ids, keys)
        chains = [chain for chain, _ in records]
        pieces = {} if reason is None else await content.read(pool, settings, chains, reason, kind)
        logs = await content.access_logs_of(pool, [chain[0].record_id for chain in chains])
    finally:
        await pool.close()
    return [
        _Shown(chain, replays, logs[chain[0].record_id], pieces.get(chain[0].record_id), kind)
        for chain, replays in records
    ]


def _as_json(record: _Shown) -> dict[str, Any]:
    chain, replays = record.chain, record.replays
    read = {} if record.pieces is None else {"content": [piece.as_json() for piece in record.pieces]}
    return {
        "record_id": str(chain[0].record_id),
        "intact": ledger.verify_chain(chain) is None,
        "entries": [{"hash": entry.hash.hex(), "body": orjson.Fragment(entry.body.encode())} for entry in chain],
        "replayed_by": [{"record_id": str(row["record_id"]), "status": row["status"]} for row in replays],
        "access_log": [asdict(access) for access in record.access_log],
        **read,
    }


def explained(chain: Sequence[Entry]) -> str:
    """Return why a job was handled as it was, and what came of it, in plain English."""
    bodies = {entry.kind: entry.content() for entry in chain}
    decided, classified = bodies.get(EntryKind.DECIDED), bodies.get(EntryKind.CLASSIFIED)
    paragraphs: list[str] = []
    if decided is None or classified is None:
        paragraphs.append(f"No decision was made about record {chain[0].record_id}.")
    else:
        decision = decided["data"]["decision"]
        kind = NoRoute if decision["route"] is None else Decision
        features = Features.model_validate(classified["data"]["features"])
        paragraphs.append(explain_decision(kind.model_validate(decision), features).strip())
    paragraphs.append(_happened(chain))
    return "\n\n".join(paragraphs)


def _happened(chain: Sequence[Entry]) -> str:
    """Say in sentences what came of the job."""
    sentences: list[str] = []
    for entry in chain:
        data = entry.content()["data"]
        match entry.kind:
            case EntryKind.ATTEMPT_FINISHED if data["outcome"] == "ok":
                sentences.append(f"Attempt {data['attempt']} brought an answer after {data['latency_ms']:,} ms.")
            case EntryKind.ATTEMPT_FINISHED:
                words = str(data["failure_class"]).replace("_", " ")
                sentences.append(f"Attempt {data['attempt']} brought no answer ({words}).")
            case EntryKind.HELD:
                sentences.append(f"The job had to wait ({data['reason'].replace('_', ' ')}).")
            case EntryKind.SEALED:
                error = f" ({data['error']['code'].replace('_', ' ')})" if data["error"] else ""
                sentences.append(f"The job ended as {data['status']}{error} and cost ${data['totals']['cost_usd']}.")
            case EntryKind.LATE_RESULT:
                sentences.append(f"The answer of attempt {data['attempt']} came after the job had gone on.")
            case EntryKind.COST_CORRECTED:
                sentences.append(f"The cost of attempt {data['attempt']} was corrected by ${data['cost_usd']}.")
            case EntryKind.ERASED:
                sentences.append("Its content was erased.")
            case EntryKind.FEEDBACK:
                sentences.append(f"A verdict on the answer came: {data['verdict'].replace('_', ' ')}.")
    return " ".join(sentences) or "The job has not been tried yet."
