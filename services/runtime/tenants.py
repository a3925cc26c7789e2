"""The tenants that count, in every service: read when it starts, and followed while it runs.

States: none applied yet (nobody is a tenant), or one version in force. Authority: the newest row of Postgres' history;
a service never reads the file. A notification tells of a new version at once, a look every :data:`LOOK_EVERY_S` finds
one whose notification was lost. How it fails: while Postgres is away, or has a version that this release cannot read,
the last good version counts on; the second is a reason not to be ready.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import asyncpg
from pydantic import ValidationError

from services.runtime import queries
from services.runtime.errors import WaybillError
from services.runtime.postgres import is_transient
from services.runtime.telemetry import Telemetry, describe
from services.tenancy import Tenants

CHANNEL: Final = "waybill_tenants"
LOOK_EVERY_S: Final = 2.0
UNREADABLE: Final = "tenants"
_SQL = queries.load("tenants")


class TenantsUnreadableError(WaybillError):
    """The tenants in force cannot be read by this release."""

    hint = "A newer release applied them: bring this service to that release, or apply what this one can read."


class TenantRegistry:
    """The tenants in force, as far as this process knows."""

    def __init__(self, pool: asyncpg.Pool[Any], telemetry: Telemetry, unready: dict[str, str]) -> None:
        """Read from a pool; ``unready`` is told while a version in force cannot be read."""
        self._pool = pool
        self._telemetry = telemetry
        self._unready = unready
        self._told = asyncio.Event()
        self._seen = 0
        self.seq = 0
        """Place of the current version in the history; 0 where none has been applied."""
        self.current = Tenants(version=1)
        """What counts. Replaced as a whole, never changed: take it once for what has to fit together."""

    async def refresh(self) -> bool:
        """Take the version in force, and say whether that changed anything.

        Raises :class:`TenantsUnreadableError`, or what the database raises; the current version then counts on.
        """
        row = await self._pool.fetchrow(_SQL["in_force"], self._seen)
        if row is None:
            return False
        self._seen = row["seq"]
        try:
            current = Tenants.model_validate_json(row["content"])
        except ValidationError:
            reason = f"version {self._seen} of the tenants cannot be read by this release"
            self._unready[UNREADABLE] = reason
            raise TenantsUnreadableError(reason) from None
        self._unready.pop(UNREADABLE, None)
        self.seq = row["seq"]
        self.current = current
        self._telemetry.log.info("tenants in force", version=self.seq, tenants=len(current.tenants))
        return True

    async def caught_up(self) -> bool:
        """Look before something is refused, so that it is refused by what counts now; say whether anything changed."""
        try:
            return await self.refresh()
        except TenantsUnreadableError as error:
            self._telemetry.log.error("the last good version of the tenants counts on", error=describe(error))
            return False

    async def follow(self) -> None:
        """Keep up with what is applied, for ever; a database that is away is waited for."""
        while True:
            try:
                async with self._pool.acquire() as connection:
                    await connection.add_listener(CHANNEL, self._notified)
                    try:
                        while not connection.is_closed():
                            await self._look()
                    finally:
                        await connection.remove_listener(CHANNEL, self._notified)
            except Exception as error:
                if not is_transient(error):
                    raise
                self._telemetry.log.warning("the tenants cannot be followed", error=describe(error))
                await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> None:
        # Cleared before looking: what is told meanwhile is looked at in the next turn.
        self._told.clear()
        await self.caught_up()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._told.wait()

    def _notified(self, *_: object) -> None:
        self._told.set()
