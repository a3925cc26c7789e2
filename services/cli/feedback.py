"""`waybill feedback`: say what somebody thought of an answer, by record or by the key of its job.

It publishes what the tenant would, on its topic or signed; the recorder takes it in as anybody's. By record it asks
Postgres whose the record is.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
import typer
from pydantic import ValidationError

from schemas.feedback import Feedback
from schemas.job import SCHEMA_VERSION
from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.cli.publishing.address import address_of
from services.cli.records.select import NoSuchRecordError
from services.cli.tenants import connected, in_force
from services.runtime import queries
from services.runtime.kafka import Outgoing, Producer
from services.runtime.settings import Settings

_SQL: Final = queries.load("cli_feedback")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(feedback)


def feedback(
    verdict: Annotated[str, typer.Option(help="accepted, edited, re_asked, escalated or rejected.")],
    record: Annotated[UUID | None, typer.Argument(help="Id of the record.", metavar="ID")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="TENANT/KEY of its job instead.", metavar="TENANT/KEY")
    ] = None,
    edit_ratio: Annotated[float | None, typer.Option(help="How much of the answer was changed, 0 to 1.")] = None,
    reason_code: Annotated[str | None, typer.Option(help="Your own code of the reason; no text.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Publish a verdict on an answer. The same verdict counts once, however often it is published."""
    if (record is None) == (key is None):
        raise typer.BadParameter("name a record, or a job by --key TENANT/KEY", param_hint="ID")
    fields: dict[str, Any] = {"verdict": verdict, "edit_ratio": edit_ratio, "reason_code": reason_code}
    if key is not None:
        # A tenant has no slash, a key may.
        tenant, _, idempotency_key = key.partition("/")
        fields |= {"tenant": tenant, "idempotency_key": idempotency_key}
    else:
        # Read strictly before anything is asked of the database; the tenant follows.
        fields |= {"tenant": "unknown", "record_id": record}
    wanted = _feedback_of(fields)
    given = asyncio.run(_publish(load_settings(), wanted))
    named = str(given.record_id) if given.record_id else f"{given.tenant}/{given.idempotency_key}"
    emit(given.model_dump(mode="json"), json=json, text=f"{named}  {given.verdict}: feedback published")


def _feedback_of(fields: dict[str, Any]) -> Feedback:
    try:
        return Feedback.model_validate({"schema_version": SCHEMA_VERSION, **fields})
    except ValidationError as error:
        names = {"tenant": "--key", "idempotency_key": "--key"}
        field = str(error.errors(include_input=False)[0]["loc"][0])
        option = names.get(field, f"--{field.replace('_', '-')}")
        raise typer.BadParameter("is not what the feedback schema has there", param_hint=option) from None


async def _publish(settings: Settings, given: Feedback) -> Feedback:
    """Publish feedback as its tenant would, and return it with its tenant; raises :class:`NoSuchRecordError`."""
    async with connected(settings) as connection:
        _, tenants = await in_force(connection)
        if given.record_id is not None:
            tenant = await connection.fetchval(_SQL["tenant_of"], given.record_id)
            if tenant is None:
                raise NoSuchRecordError(f"there is no record {given.record_id}")
            given = given.model_copy(update={"tenant": tenant})
    address = address_of(given.tenant, tenants, settings)
    value = orjson.dumps(given.model_dump(mode="json", exclude_none=True))
    key = str(given.record_id or given.idempotency_key).encode()
    producer = Producer(settings, "feedback")
    await producer.start()
    try:
        await producer.send([Outgoing(settings.topic(address.feedback), key, value, address.headers(value))])
    finally:
        await producer.stop()
    return given
