"""What keeps the database in shape: partitions ahead of time, orphaned keys, old leases, what is kept of old jobs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.recorder.retention import RetentionPass
from services.runtime import queries
from services.runtime.host import Host
from services.runtime.ids import first_record_id
from services.runtime.migrate import PARTITION_MONTHS

_RECORDER = queries.load("recorder")
_LEASE = queries.load("lease")
_MIGRATE = queries.load("migrate")
ORPHAN_AFTER: Final = timedelta(hours=1)
ORPHANS_AT_ONCE: Final = 5_000


class Upkeep:
    """Slow housekeeping, done by every recorder and harmless when done twice."""

    def __init__(self, host: Host) -> None:
        """Take the host's parts."""
        self._host = host
        self._retention = RetentionPass(host)
        self._looked_until = UUID(int=0)

    async def run_once(self, now: datetime) -> None:
        """Do everything that is due."""
        pool: asyncpg.Pool[Any] = self._host.pool
        await pool.execute(_MIGRATE["ensure_partitions"], now.date(), PARTITION_MONTHS)
        misplaced = await pool.fetchval(_MIGRATE["default_partition_rows"])
        self._host.telemetry.gauges.labels("default_partition_used").set(int(misplaced))
        if misplaced:
            self._host.telemetry.log.error("rows fell into a default partition: a month's partition was missing")
        await pool.execute(_LEASE["sweep"])
        await pool.execute(_RECORDER["forget_keys"])
        await self.sweep_orphan_keys(now)
        await self._retention.run_once(now)

    async def sweep_orphan_keys(self, now: datetime) -> int:
        """Delete keys whose record was never committed, and return how many there were."""
        before = first_record_id(now - ORPHAN_AFTER)
        deleted = 0
        while True:
            ids = await self._host.keyring.between(self._looked_until, before, ORPHANS_AT_ONCE)
            if not ids:
                return deleted
            rows = await self._host.pool.fetch(_RECORDER["without_record"], ids)
            deleted += await self._host.keyring.delete([row["record_id"] for row in rows])
            self._looked_until = ids[-1]
