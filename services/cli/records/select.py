"""Which records a command is about: named by id or key, or selected by how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import typer

from services.cli.environment import keyring_pool
from services.cli.when import parse_duration
from services.runtime import queries
from services.runtime.errors import WaybillError
from services.runtime.master_keys import MasterKeys
from services.runtime.settings import Settings
from services.runtime.tenant_keys import TenantKeys

_SQL = queries.load("cli_records")

Keys = Annotated[list[str] | None, typer.Option("--key", help="TENANT/KEY of a job.", metavar="TENANT/KEY")]
Status = Annotated[str | None, typer.Option("--status", help="succeeded, failed, rejected, expired, cancelled")]
ErrorCode = Annotated[str | None, typer.Option("--error-code", help="such as provider_failed")]
FailureClass = Annotated[str | None, typer.Option("--failure-class", help="of any attempt, such as overloaded")]
Tenant = Annotated[str | None, typer.Option("--tenant")]
Route = Annotated[str | None, typer.Option("--route", help="PROVIDER/MODEL that was asked last")]
Since = Annotated[str | None, typer.Option("--since", help="a duration such as 1h, or an RFC 3339 time")]


class NoSuchRecordError(WaybillError):
    """There is no such record."""

    hint = "`waybill record list --since 1d` lists the newest ones."


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that all have to hold; None matches everything."""

    status: str | None = None
    error_code: str | None = None
    failure_class: str | None = None
    tenant: str | None = None
    route: str | None = None
    since: datetime | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing was asked for."""
        return self == Selection()


def since_of(text: str | None) -> datetime | None:
    """Return the instant that ``--since`` names: so long ago, or a time."""
    if text is None:
        return None
    try:
        return datetime.now(UTC) - parse_duration(text)
    except ValueError:
        pass
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("is a duration such as 1h, or an RFC 3339 time", param_hint="--since") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


async def select(pool: asyncpg.Pool[Any], selection: Selection, limit: int) -> list[asyncpg.Record]:
    """Return sealed records that match, newest first."""
    return list(
        await pool.fetch(
            _SQL["select_records"],
            selection.status,
            selection.error_code,
            selection.failure_class,
            selection.tenant,
            selection.route,
            selection.since,
            limit,
        )
    )


async def resolve(pool: asyncpg.Pool[Any], settings: Settings, ids: Sequence[UUID], keys: Sequence[str]) -> list[UUID]:
    """Return the records named by id or by ``TENANT/KEY``; raises :class:`NoSuchRecordError`."""
    found = list(ids)
    if not keys:
        return list(dict.fromkeys(found))
    async with keyring_pool(settings, pool) as keyring:
        found += await _of_keys(pool, TenantKeys(keyring, MasterKeys.of(settings)), keys)
    return list(dict.fromkeys(found))


async def _of_keys(pool: asyncpg.Pool[Any], tenant_keys: TenantKeys, keys: Sequence[str]) -> list[UUID]:
    found: list[UUID] = []
    for text in keys:
        tenant, slash, key = text.partition("/")
        if not slash:
            raise typer.BadParameter("is a tenant, a slash, and an idempotency key", param_hint="--key")
        row = None
        if await tenant_keys.find(tenant):
            row = await pool.fetchrow(_SQL["record_of_key"], tenant, tenant_keys.key_hmac(tenant, key))
        if row is None or row["record_id"] is None:
            raise NoSuchRecordError(f"no job of tenant {tenant} has come under that key")
        found.append(row["record_id"])
    return found
