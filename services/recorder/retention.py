"""Retention: sealed records whose time is up are put on the list of erasures.

A record crosses each period once: sealed records are looked through in the order of their ends, up to that many days
ago, and those to which just this period applies are erased. Where a pass stands is kept in memory alone: a process
begins anew and looks through everything once, in batches, which also finds what a changed period applies to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID, uuid4

import asyncpg

from services.runtime import queries
from services.runtime.host import Host

AT_ONCE: Final = 1_000
BATCHES_A_RUN: Final = 100
_SQL = queries.load("erasure")
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Retention(Protocol):
    """How long the content of records is kept."""

    @property
    def periods(self) -> Iterable[int]:
        """Every number of days that applies to anything."""

    def days(self, tenant: str, data_class: str | None) -> int | None:
        """Return for how many days after its end content is kept; None for ever. No class: never classified."""


@dataclass(frozen=True, slots=True)
class OnePeriod:
    """The same for all tenants and data classes."""

    period: int | None

    @property
    def periods(self) -> Iterable[int]:
        """The one, if there is one."""
        return () if self.period is None else (self.period,)

    def days(self, tenant: str, data_class: str | None) -> int | None:
        """Return the one."""
        return self.period


class RetentionPass:
    """Looks through what was sealed, ever further."""

    def __init__(self, host: Host, retention: Retention) -> None:
        """Take the host's parts and how long content is kept."""
        self._host = host
        self._retention = retention
        self._until: dict[int, tuple[datetime, UUID]] = {}

    async def run_once(self, now: datetime) -> int:
        """Put on the list what is due, at most so much, and return how many records; the rest is for the next run."""
        retired = 0
        for period in sorted(set(self._retention.periods)):
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

    async def _retire(self, due: list[asyncpg.Record]) -> int:
        if not due:
            return 0
        columns = [row["record_id"] for row in due], [row["tenant"] for row in due]
        return len(await self._host.pool.fetch(_SQL["retire"], uuid4(), *columns))
