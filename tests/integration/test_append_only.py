"""Entries and facts cannot be changed or removed: on no partition, by no role, in no replication mode."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import uuid4

import asyncpg
import pytest
from support import sql
from support.chains import appended, chain, received
from support.logins import as_login, connected

from services.runtime import queries
from services.runtime.ids import new_record_id
from services.runtime.ledger import read_chains
from services.runtime.postgres import Connection

_SQL = sql.load("append_only")
_CATALOGUE = sql.load("catalogue")
_ROLES = sql.load("roles")
_MIGRATE = queries.load("migrate")
REFUSED = r"is refused: the record is append-only"
IN_2001 = datetime(2001, 1, 1, tzinfo=UTC)


async def a_row_in_every_table(connection: Connection) -> list[str]:
    """Fill all append-only tables, the default partitions too, and return their names."""
    tables = [row["name"] for row in await connection.fetch(_CATALOGUE["append_only"])]
    now = datetime.now(UTC)
    await appended(connection, received(new_record_id()), received(uuid4()))
    for table in ("facts.request", "facts.attempt", "facts.source", "facts.feedback"):
        for moment in (now, IN_2001):
            await connection.execute(await connection.fetchval(_SQL["fill"], table, moment))
    return tables


async def test_every_change_is_refused_for_a_superuser_and_a_replica(connection: Connection) -> None:
    await connection.execute(_MIGRATE["ensure_partitions"], date(2040, 1, 1), 2)
    tables = await a_row_in_every_table(connection)
    assert len(tables) == 5 * (1 + 1 + 4 + 2)  # parent, default, four months, two made later
    assert await connection.fetchval(_SQL["is_superuser"]), "the test has to be made with all rights"
    month = f"{datetime.now(UTC):%Y_%m}"
    for replica in (False, True):
        if replica:
            await connection.execute(_SQL["as_replica"])
        for table in tables:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=REFUSED):
                await connection.execute(_SQL["truncate"].format(table=table))
            rows = await connection.fetchval(_SQL["count"].format(table=table))
            assert (rows > 0) == table.endswith(
                (month, "default", "entry", "request", "attempt", "source", "feedback")
            ), table
            for change in ("update", "delete", "merge") if rows else ():
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match=REFUSED):
                    await connection.execute(_SQL[change].format(table=table))
            assert await connection.fetchval(_SQL["count"].format(table=table)) == rows
        for change in ("truncate_together", "upsert"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=REFUSED):
                await connection.execute(_SQL[change])


async def test_every_change_is_refused_for_the_owner(
    connection: Connection, database: str, logins: dict[str, str]
) -> None:
    tables = await a_row_in_every_table(connection)
    async with connected(as_login(database, logins["owner"])) as owner:
        await owner.execute(_ROLES["as_owner"])
        assert not await owner.fetchval(_SQL["is_superuser"])
        for table in tables:
            rows = await owner.fetchval(_SQL["count"].format(table=table))
            for change in ("truncate", "update", "delete", "merge") if rows else ("truncate",):
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match=REFUSED):
                    await owner.execute(_SQL[change].format(table=table))
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="session_replication_role"):
            await owner.execute(_SQL["as_replica"])


async def test_every_partition_has_triggers_that_always_fire(connection: Connection) -> None:
    """An empty partition refuses nothing that could be seen, so the catalogue is asked."""
    assert await connection.fetch(_CATALOGUE["uncovered"]) == []


async def test_what_is_stored_is_unharmed_by_refused_changes(connection: Connection) -> None:
    record = new_record_id()
    wanted = chain(record, ["received", "classified"])
    await appended(connection, wanted)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(_SQL["upsert"])
    assert (await read_chains(connection, [record]))[record] == list(wanted.entries)
