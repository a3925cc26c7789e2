"""`waybill cancel`: stop jobs that have not ended, by record or by idempotency key.

By key it publishes what the tenant would, on its topic or signed: the database need not know the job yet. By record it
marks the record's key in Postgres. Both are seen before each decision, attempt and upload; a call in flight ends and is
paid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Annotated, Final
from uuid import UUID

import orjson
import typer
from pydantic import ValidationError

from schemas.job import SCHEMA_VERSION, Cancel
from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.cli.publishing.address import address_of
from services.cli.tenants import connected, in_force
from services.runtime import queries
from services.runtime.kafka import Outgoing, Producer
from services.runtime.postgres import open_pool
from services.runtime.settings import Settings
from services.tenancy import Tenants

_SQL: Final = queries.load("cli_cancel")
MEANINGS: Final = {
    "cancelled": "will be sealed as cancelled, unless it ends first",
    "cancelled_before": "was cancelled before",
    "sealed": "has ended already",
    "unknown": "there is no such record",
    "superseded": "another record answers for its key by now",
}
DONE: Final = frozenset({"cancelled", "cancelled_before"})


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(cancel)


def cancel(
    records: Annotated[list[UUID] | None, typer.Argument(help="Ids of records.", metavar="ID...")] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="TENANT/KEY of a job, published or not.", metavar="TENANT/KEY")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Cancel jobs. A call in flight finishes, and its cost is recorded; the record is sealed as cancelled.

    The exit status is 1 if a record is unknown or has ended already. A key is remembered even before its job comes.
    """
    if not records and not key:
        raise typer.BadParameter("name a record, or a job by --key TENANT/KEY", param_hint="ID")
    cancels = [_cancel_of(text) for text in key or ()]
    states = asyncio.run(_cancel(load_settings(), list(dict.fromkeys(records or ())), cancels))
    lines = [f"{record_id}  {state}: {MEANINGS[state]}" for record_id, state in states.items()]
    lines += [f"{c.tenant}/{c.idempotency_key}  cancel published" for c in cancels]
    emit(
        {
            "records": [{"record_id": str(record_id), "state": state} for record_id, state in states.items()],
            "keys": [{"tenant": c.tenant, "idempotency_key": c.idempotency_key} for c in cancels],
        },
        json=json,
        text="\n".join(lines),
    )
    if not DONE.issuperset(states.values()):
        raise typer.Exit(1)


def _cancel_of(text: str) -> Cancel:
    """Return the message for a key; a tenant has no slash, a key may."""
    tenant, _, key = text.partition("/")
    try:
        return Cancel(schema_version=SCHEMA_VERSION, type="cancel", tenant=tenant, idempotency_key=key)
    except ValidationError:
        raise typer.BadParameter("is a tenant, a slash, and an idempotency key", param_hint="--key") from None


async def _cancel(settings: Settings, records: Sequence[UUID], cancels: Sequence[Cancel]) -> dict[UUID, str]:
    async with AsyncExitStack() as stack:
        if cancels:
            producer = Producer(settings, "cancel")
            await producer.start()
            stack.push_async_callback(producer.stop)
            async with connected(settings) as connection:
                _, tenants = await in_force(connection)
            await producer.send([_message(settings, tenants, cancel) for cancel in cancels])
        return await _cancel_records(settings, records) if records else {}


def _message(settings: Settings, tenants: Tenants, cancel: Cancel) -> Outgoing:
    """Return a cancel as its tenant would publish it: under the job's key, so that it stands behind its job."""
    address, value = address_of(cancel.tenant, tenants, settings), orjson.dumps(cancel.model_dump())
    key = cancel.idempotency_key.encode()
    return Outgoing(settings.topic(address.requests), key, value, address.headers(value))


async def _cancel_records(settings: Settings, records: Sequence[UUID]) -> dict[UUID, str]:
    """Mark records as cancelled and return how each stands, in the order asked."""
    pool = await open_pool(settings.database_url, service="cancel", size=1)
    try:
        marked = {row["record_id"] for row in await pool.fetch(_SQL["cancel_records"], records)}
        others = [record_id for record_id in records if record_id not in marked]
        states = {row["record_id"]: row["state"] for row in await pool.fetch(_SQL["states"], others)}
    finally:
        await pool.close()
    return {record_id: states.get(record_id, "cancelled") for record_id in records}
