"""Erasures in tests: asked for as on-call asks, carried out as a recorder does, and looked for everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from services.recorder import erasure_log
from services.recorder.erasure_log import Line
from services.recorder.erasures import Erasures
from services.runtime import erasure, queries
from services.runtime.host import Host
from services.runtime.ids import now
from services.runtime.tenant_keys import NOBODY
from support import sql
from support.flow import Flow
from support.jobs import TENANT

_ASK = queries.load("cli_erasure")
_SQL = sql.load("erasure")
WHY = "ticket 7"
A_DAY = timedelta(days=1)


async def ask(host: Host, *records: UUID) -> dict[UUID, str]:
    """Ask for the erasure of records; return the state of each of their families."""
    rows = await host.pool.fetch(_ASK["ask"], uuid4(), records, WHY)
    return {row["record_id"]: row["state"] for row in rows}


async def ask_subject(
    host: Host, subject: str, tenant: str = TENANT, *, at: datetime | None = None, window: timedelta = A_DAY
) -> dict[UUID, str]:
    """Ask for the erasure of a subject; return the state of its records known by now."""
    moment = at or now()
    await host.tenant_keys.ensure([NOBODY])
    hmac = erasure.subject_hmac(host.tenant_keys, tenant, subject)
    rows = await host.pool.fetch(_ASK["ask_subject"], uuid4(), tenant, hmac, WHY, moment, moment + window)
    return {row["record_id"]: row["state"] for row in rows}


def erasures(flow: Flow) -> Erasures:
    """Return what erases, as a recorder has it that has just started."""
    return Erasures(flow.at("recorder"), now)


async def left_of(host: Host, record_id: UUID) -> dict[str, int]:
    """Return how many keys, pieces of content and subjects a record has."""
    row = await host.pool.fetchrow(_SQL["left_of"], record_id)
    assert row is not None
    return dict(row)


def logged(host: Host) -> Sequence[Line]:
    """Return the lines of the erasure log, all of which can be read."""
    lines, unreadable = erasure_log.read(host.settings.erasure_log)
    assert unreadable == 0
    return lines


GONE = {"keys": 0, "contents": 0, "subjects": 0}
