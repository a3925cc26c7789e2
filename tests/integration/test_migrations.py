"""Migrations against a real database: once each, never two at a time, and what they make is what the files say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib import resources

import asyncpg
import pytest
from support import sql
from support.chains import appended, received
from support.servers import OpenHost

from services.recorder.upkeep import Upkeep
from services.runtime import queries
from services.runtime.ids import new_record_id
from services.runtime.migrate import PARTITION_MONTHS, MigrationError, migrate, migrations, require_current
from services.runtime.postgres import Connection, NotMigratedError

_SQL = sql.load("catalogue")
_MIGRATE = queries.load("migrate")
KEYRING = resources.files("schemas.sql").joinpath("keyring.sql").read_text(encoding="utf-8")
PARTITIONED = ("record.entry", "facts.request", "facts.attempt", "facts.source")


@asynccontextmanager
async def connected(url: str, count: int) -> AsyncIterator[list[Connection]]:
    async with AsyncExitStack() as stack:
        connections: list[Connection] = [await asyncpg.connect(url) for _ in range(count)]
        for connection in connections:
            stack.push_async_callback(connection.close)
        yield connections


async def catalogue(connection: Connection) -> list[str]:
    return [row[0] for row in await connection.fetch(_SQL["everything"])]


def months_from(moment: datetime, count: int) -> list[str]:
    first = moment.year * 12 + moment.month - 1
    return [f"{month // 12}_{month % 12 + 1:02}" for month in range(first, first + count)]


async def test_the_second_run_adds_nothing(empty_database: str) -> None:
    async with connected(empty_database, 1) as [connection]:
        assert await migrate(connection) == migrations()
        after_one = await catalogue(connection)
        assert await migrate(connection) == []
        assert await catalogue(connection) == after_one
        await require_current(connection)


async def test_runs_at_the_same_time_apply_each_migration_once(empty_database: str) -> None:
    async with connected(empty_database, 6) as connections:
        applied = await asyncio.gather(*(migrate(connection) for connection in connections))
        await asyncio.gather(*(connection.execute(KEYRING) for connection in connections))
        assert sorted(m.version for run in applied for m in run) == [m.version for m in migrations()]
        rows = await connections[0].fetch(_SQL["migrations_applied"])
        assert [row["version"] for row in rows] == [m.version for m in migrations()]


async def test_a_migration_changed_after_it_was_applied_is_refused(connection: Connection) -> None:
    before = await catalogue(connection)
    await connection.execute(_SQL["tampered_digest"], 2)
    with pytest.raises(MigrationError, match="0002 was changed"):
        await migrate(connection)
    assert await catalogue(connection) == before


async def test_a_migration_that_fails_leaves_nothing_behind(connection: Connection) -> None:
    before = await catalogue(connection)
    await connection.execute(_SQL["forget_migration"], 2)
    with pytest.raises(MigrationError, match=r"0002_facts: .*already exists"):
        await migrate(connection)
    assert await catalogue(connection) == before


async def test_migrated_in_steps_equals_fresh(connection: Connection, empty_database: str) -> None:
    async with connected(empty_database, 1) as [fresh]:
        await fresh.execute("\n".join(migration.sql for migration in migrations()))
        await fresh.execute(_MIGRATE["ensure_partitions"], datetime.now(UTC).date(), PARTITION_MONTHS)
        expected = await catalogue(fresh)
    found = [line for line in await catalogue(connection) if "keyring" not in line]
    assert len(expected) > 100
    assert found == expected


@pytest.mark.parametrize("table", PARTITIONED)
async def test_partitions_exist_months_ahead(connection: Connection, table: str) -> None:
    rows = await connection.fetch(_SQL["months"], table)
    assert [row[0] for row in rows] == months_from(datetime.now(UTC), PARTITION_MONTHS)
    assert PARTITION_MONTHS == 4


async def test_partitions_made_by_many_at_once_are_made_once(connection: Connection, database: str) -> None:
    start = datetime(2031, 11, 5, tzinfo=UTC)
    async with connected(database, 5) as connections:
        made = await asyncio.gather(
            *(one.fetchval(_MIGRATE["ensure_partitions"], start.date(), 4) for one in connections)
        )
    assert sorted(made) == [0, 0, 0, 0, 4 * len(PARTITIONED)]
    rows = await connection.fetch(_SQL["months"], "record.entry")
    assert [row[0] for row in rows][-4:] == ["2031_11", "2031_12", "2032_01", "2032_02"]
    assert await connection.fetch(_SQL["uncovered"]) == []


async def test_a_row_in_a_default_partition_is_an_alarm_and_upkeep_goes_on(
    connection: Connection, host: OpenHost
) -> None:
    recorder = await host("recorder")
    gauge = recorder.telemetry.gauges.labels("default_partition_used")._value
    now = datetime.now(UTC)
    await Upkeep(recorder).run_once(now)
    assert gauge.get() == 0

    month = months_from(now, 1)[0]
    await connection.execute(_SQL["drop_partition"].format(name=f"record.entry_{month}"))
    await appended(connection, received(new_record_id()))
    # The missing partition cannot be made any more: rows of its range are elsewhere. Everything else still is.
    await Upkeep(recorder).run_once(now.replace(year=now.year + 1, month=1, day=1))
    assert gauge.get() == 1
    await Upkeep(recorder).run_once(now)
    assert gauge.get() == 1
    rows = await connection.fetch(_SQL["months"], "record.entry")
    assert month not in [row[0] for row in rows]
    assert f"{now.year + 1}_01" in [row[0] for row in rows]


async def test_a_database_that_is_behind_is_named(connection: Connection, empty_database: str) -> None:
    await require_current(connection)
    await connection.execute(_SQL["forget_migration"], 2)
    with pytest.raises(NotMigratedError, match="lacks migration 0002_facts"):
        await require_current(connection)
    async with connected(empty_database, 1) as [empty]:
        with pytest.raises(NotMigratedError, match="is empty"):
            await require_current(empty)
