"""`waybill record correct`: what a call really cost, where an invoice says otherwise.

Nothing is changed: the amount is put aside, the recorder appends it to the sealed record, and the cost views add it up.
"""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final
from uuid import UUID

import typer

from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.runtime import queries
from services.runtime.errors import WaybillError
from services.runtime.postgres import open_pool
from services.runtime.settings import Settings

_SQL: Final = queries.load("cli_records")
_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
MOST_USD: Final = Decimal(1_000_000)
MEANINGS: Final = {
    "corrected": "will be corrected as soon as the record has ended",
    "corrected_before": "was corrected under this reference before; nothing is added",
}


class NoSuchAttemptError(WaybillError):
    """The record has no such attempt."""

    hint = "`waybill record show ID` lists the attempts of a record."


def correct(
    record_id: Annotated[UUID, typer.Argument(help="The record.", metavar="ID")],
    attempt: Annotated[int, typer.Option("--attempt", min=1, help="Number of the call, from 1.")],
    by: Annotated[str, typer.Option("--by", help="US dollars to add to its known cost; negative: to take off.")],
    reference: Annotated[
        str, typer.Option("--reference", help="The invoice or ticket that says so; each counts once for a call.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Correct the cost of one call: an entry after the seal, and a row of its own in facts.attempt."""
    amount = _amount(by)
    if not _REFERENCE.fullmatch(reference):
        raise typer.BadParameter("has up to 64 letters, digits and . _ : / -", param_hint="--reference")
    state = asyncio.run(_correct(load_settings(), record_id, attempt, amount, reference))
    if state == "unknown":
        raise NoSuchAttemptError(f"record {record_id} has no attempt {attempt}")
    emit(
        {"record_id": str(record_id), "attempt": attempt, "by_usd": f"{amount:f}", "state": state},
        json=json,
        text=f"attempt {attempt} of {record_id} {MEANINGS[state]}",
    )


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or not 0 < abs(amount) <= MOST_USD:
        raise typer.BadParameter(f"is an amount of US dollars other than 0, {MOST_USD:,} at most", param_hint="--by")
    return amount


async def _correct(settings: Settings, record_id: UUID, attempt: int, amount: Decimal, reference: str) -> str:
    pool = await open_pool(settings.database_url, service="cli", size=1)
    try:
        return str(await pool.fetchval(_SQL["correct_cost"], record_id, attempt, amount, reference))
    finally:
        await pool.close()
