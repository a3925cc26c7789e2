"""Migrations against a real database: once each, never two at a time, and what they make is what the files say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit

import asyncpg
import pytest
from support import sql
from support.chains import appended, received
from support.databases import new_database
from support.logins import as_login, new_login
from support.servers import OpenHost, Servers

from services.recorder.upkeep import Upkeep
from services.runtime import queries
from services.runtime.ids import new_record_id
from services.runtime.migrate import (
    PARTITION_MONTHS,
    MigrationError,
    NotOwnerError,
    RolesMissingError,
    migrate,
    migrate_keyring,
    migrations,
    require_current,
    script,
)
from services.runtime.postgres import Connection, NotMigratedError, RoleNotGrantedError

_SQL = sql.load("catalogue")
_ROLES = sql.load("roles")
_LOGINS = sql.load("databases")
_MIGRATE = queries.load("migrate")
PARTITIONED = ("record.entry", "facts.request", "facts.attempt", "facts.source", "facts.feedback")


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
        await asyncio.gather(*(migrate_keyring(connection) for connection in connections))
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
        async with fresh.transaction():
            await fresh.execute(script("roles"))
            await fresh.execute(_MIGRATE["act_as_owner"])
            await fresh.execute(_MIGRATE["create_history"])
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


# -- who may migrate --------------------------------------------------------------------------------------------------


async def migrated_as(url: str, login: str) -> None:
    """Migrate as a login, keyring too; what it made has to be whole, and the owner's."""
    async with connected(as_login(url, login), 1) as [own]:
        assert await migrate(own) == migrations()
        await migrate_keyring(own)
        assert await migrate(own) == []
    async with connected(url, 1) as [connection]:
        assert await connection.fetch(_ROLES["foreign_owners"]) == []
        assert await connection.fetch(_ROLES["public_rights"]) == []
        await require_current(connection)


async def prepared(url: str) -> None:
    """Do what is asked of an administrator: run roles.sql in the database."""
    async with connected(url, 1) as [administrator]:
        await administrator.execute(script("roles"))


async def test_a_member_of_the_owner_migrates_with_no_other_right(empty_database: str) -> None:
    await prepared(empty_database)
    async with new_login(empty_database) as login:
        async with connected(empty_database, 1) as [administrator]:
            await administrator.execute(_LOGINS["grant"].format(role="waybill_owner", name=login))
        await migrated_as(empty_database, login)


async def test_a_member_of_the_owner_does_so_without_inheriting_its_rights(empty_database: str) -> None:
    await prepared(empty_database)
    async with new_login(empty_database, "NOINHERIT") as login:
        async with connected(empty_database, 1) as [administrator]:
            await administrator.execute(_LOGINS["grant"].format(role="waybill_owner", name=login))
        await migrated_as(empty_database, login)


async def test_who_owns_the_database_and_made_the_roles_migrates(empty_database: str, logins: dict[str, str]) -> None:
    # Roles are the cluster's and there already, so the login is given what whoever makes one has.
    async with new_login(empty_database, "CREATEROLE") as login:
        async with connected(empty_database, 1) as [administrator]:
            database = urlsplit(empty_database).path.lstrip("/")
            await administrator.execute(_LOGINS["give_database"].format(database=database, name=login))
            with pytest.raises(NotOwnerError):
                async with connected(as_login(empty_database, login), 1) as [own]:
                    await migrate(own)
            await administrator.execute(_LOGINS["grant_to_grant"].format(role="waybill_owner", name=login))
        await migrated_as(empty_database, login)


@pytest.mark.parametrize("options", [(), ("CREATEROLE",)])
async def test_a_stranger_is_told_what_an_administrator_has_to_do(
    empty_database: str, logins: dict[str, str], options: tuple[str, ...]
) -> None:
    async with (
        new_login(empty_database, *options) as login,
        connected(as_login(empty_database, login), 1) as [stranger],
    ):
        with pytest.raises(RolesMissingError, match=login) as unprepared:
            await migrate(stranger)
        assert "waybill migrate --roles" in (unprepared.value.hint or "")
        await prepared(empty_database)
        for step in (migrate, migrate_keyring):
            with pytest.raises(NotOwnerError, match=f"{login} is not a member"):
                await step(stranger)
        with pytest.raises(NotMigratedError):
            await require_current(stranger)


async def test_roles_are_made_in_two_databases_at_once(servers: Servers, migrated: str) -> None:
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(new_database(servers.database_url)) for _ in range(4)]
        both = [await stack.enter_async_context(connected(url, 2)) for url in urls]
        await asyncio.gather(*(connection.execute(script("roles")) for pair in both for connection in pair))


async def test_a_login_of_no_group_is_told_so(database: str) -> None:
    async with new_login(database) as login, connected(as_login(database, login), 1) as [stranger]:
        with pytest.raises(RoleNotGrantedError):
            await require_current(stranger)
