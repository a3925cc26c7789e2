"""`waybill replay`: run ended records again, each as a new record linked to the one it replays.

It publishes a request per record and no content: the classifier takes the job from the vault. A record is replayed at
most once, so that running the command twice adds nothing; what fails again is replayed by its own id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import orjson
import typer

from schemas.job import SCHEMA_VERSION, Replay
from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.cli.publishing.address import address_of
from services.cli.records import select
from services.cli.tenants import in_force
from services.runtime import queries
from services.runtime.kafka import Outgoing, Producer
from services.runtime.postgres import open_pool
from services.runtime.settings import Settings
from services.tenancy import Tenants

_SQL = queries.load("cli_replay")
MAX_SELECTED = 100_000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)


def replay(
    ids: Annotated[list[UUID] | None, typer.Argument(help="Ids of records.", metavar="ID...")] = None,
    key: select.Keys = None,
    status: select.Status = None,
    error_code: select.ErrorCode = None,
    failure_class: select.FailureClass = None,
    tenant: select.Tenant = None,
    route: select.Route = None,
    since: select.Since = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which records would be replayed.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run ended records again: those named, or all that match. The originals stay as they are."""
    selection = select.Selection(status, error_code, failure_class, tenant, route, select.since_of(since))
    named = bool(ids or key)
    if named != selection.empty:
        raise typer.BadParameter("name records, or select them by --status and the like, not both", param_hint="ID")
    rows = asyncio.run(_replay(load_settings(), ids or [], key or [], selection, dry_run=dry_run))
    asked = [row for row in rows if row["state"] == "ready"]
    verb = "would be replayed" if dry_run else "replay asked for"
    words = {"ready": verb, "replayed": "was replayed before", "open": "has not ended", "unknown": "no such record"}
    lines = [f"{row['record_id']}  {words[row['state']]}" for row in rows]
    lines.append(f"{len(asked)} of {len(rows)} records: {verb}." if rows else "No record matches.")
    emit(
        {"dry_run": dry_run, "records": [{"record_id": str(r["record_id"]), "state": r["state"]} for r in rows]},
        json=json,
        text="\n".join(lines),
    )
    if any(row["state"] in ("open", "unknown") for row in rows):
        raise typer.Exit(1)


async def _replay(
    settings: Settings, ids: Sequence[UUID], keys: Sequence[str], selection: select.Selection, *, dry_run: bool
) -> list[asyncpg.Record]:
    pool: asyncpg.Pool[Any] = await open_pool(settings.database_url, service="cli", size=1)
    try:
        if selection.empty:
            wanted = await select.resolve(pool, settings, ids, keys)
        else:
            wanted = [row["record_id"] for row in await select.select(pool, selection, MAX_SELECTED)]
        rows = list(await pool.fetch(_SQL["replay_states"], wanted))
        async with pool.acquire() as connection:
            _, tenants = await in_force(connection)
    finally:
        await pool.close()
    ready = [row for row in rows if row["state"] == "ready"]
    if ready and not dry_run:
        producer = Producer(settings, "replay")
        await producer.start()
        try:
            await producer.send([_request(settings, tenants, row) for row in ready])
        finally:
            await producer.stop()
    return rows


def _request(settings: Settings, tenants: Tenants, row: asyncpg.Record) -> Outgoing:
    """Return a request as the record's tenant would publish it."""
    request = Replay(schema_version=SCHEMA_VERSION, type="replay", tenant=row["tenant"], record_id=row["record_id"])
    value = orjson.dumps(request.model_dump(mode="json"))
    address = address_of(row["tenant"], tenants, settings)
    return Outgoing(settings.topic(address.requests), str(row["record_id"]).encode(), value, address.headers(value))
