"""Retention: sealed records whose time is up are put on the list of erasures.

A record crosses each period once: sealed records are looked through in the order of their ends, up to that many days
ago, and those to which just this period applies are erased. Where a pass stands is kept in memory alone: a process,
and whoever hears of other periods, begins anew and looks through everything once, in batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from schemas.codes import DataClass
from services.runtime import queries
from services.runtime.host import Host
from services.tenancy import Tenants

AT_ONCE: Final = 1_000
BATCHES_A_RUN: Final = 100
_SQL = queries.load("erasure")
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long content is kept: as a tenant agreed for a class of data, otherwise as the deployment's setting says."""

    tenants: Tenants
    otherwise: int | None

    @property
    def periods(self) -> list[int]:
        """Every number of days that applies to anything, in ascending order."""
        agreed = {days for tenant in self.tenants.tenants.values() for days in tenant.retention_days.values()}
        return sorted(agreed | ({self.otherwise} if self.otherwise is not None else set()))

    def days(self, tenant: str, data_class: str | None) -> int | None:
        """Return for how many days after its end content is kept; None for ever.

        What was never classified may be anything, and is kept as what the tenant keeps for the shortest time.
        """
        if data_class is not None:
            agreed = self.tenants.retention_days(tenant, DataClass(data_class))
        else:
            found = self.tenants.get(tenant)
            agreed = min(found.retention_days.values(), default=None) if found else None
        return self.otherwise if agreed is None else agreed


class RetentionPass:
    """Looks through what was sealed, ever further."""

    def __init__(self, host: Host) -> None:
        """Take the host's parts: its tenants, and its setting for those that agreed on nothing."""
        self._host = host
        self._retention = self._in_force()
        self._until: dict[int, tuple[datetime, UUID]] = {}

    async def run_once(self, now: datetime) -> int:
        """Put on the list what is due, at most so much, and return how many records; the rest is for the next run."""
        if (in_force := self._in_force()) != self._retention:
            self._retention = in_force
            self._until.clear()
        retired = 0
        for period in self._retention.periods:
            before = now - timedelta(days=period)
            for _ in range(BATCHES_A_RUN):
                after = self._until.get(period, (_BEGINNING, UUID(int=0)))
                rows = await self._host.pool.fetch(_SQL["sealed_before"], *after, before, AT_ONCE)
                if not rows:
                    break
                due = [row for row in rows if self._retention.days(row["tenant"], row["data_class"]) == period]
                retired += await self._retire(due)
                self._until[period] = rows[-1]["sealed_at"], rows[-1]["record_id"]
        return retired

    def _in_force(self) -> Retention:
        return Retention(self._host.tenants.current, self._host.settings.retention_days)

    async def _retire(self, due: list[asyncpg.Record]) -> int:
        if not due:
            return 0
        columns = [row["record_id"] for row in due], [row["tenant"] for row in due]
        return len(await self._host.pool.fetch(_SQL["retire"], uuid4(), *columns))
