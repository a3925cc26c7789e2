"""Transactions, savepoints, failures within them, what no column takes, and the rows that come back."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import asyncpg
import pytest
from support.chains import appended, chain

from services.runtime import ledger, queries
from services.runtime.ids import new_record_id
from services.runtime.ledger import read_chains
from services.runtime.postgres import blames_a_row, is_transient
from simulation.contract import Connection, Pool

INTAKE, ROUTER, RECORDER = (queries.load(name) for name in ("intake", "router", "recorder"))
HOUR = timedelta(hours=1)


class BoomError(Exception):
    """Something of the caller's own."""


async def test_nobody_sees_a_transaction_before_its_commit_and_never_one_undone(pool: Pool) -> None:
    kept, undone = new_record_id(), new_record_id()
    async with pool.acquire() as connection, connection.transaction():
        await appended(connection, chain(kept, ["received"]))
        assert set(await read_chains(connection, [kept])) == {kept}
        assert await read_chains(pool, [kept]) == {}
        assert connection.is_in_transaction()
    with suppress(BoomError):
        async with pool.acquire() as connection, connection.transaction():
            await appended(connection, chain(undone, ["received"]))
            raise BoomError
    assert set(await read_chains(pool, [kept, undone])) == {kept}


async def test_a_savepoint_undoes_its_own_part_and_the_failure(connection: Connection) -> None:
    outer, inner = new_record_id(), new_record_id()
    async with connection.transaction():
        await appended(connection, chain(outer, ["received"]))
        with suppress(asyncpg.CheckViolationError):
            async with connection.transaction():
                await appended(connection, chain(inner, ["received"]))
                await ledger.append(connection, [chain(new_record_id(), ["received", "decided"])])
        async with connection.transaction():
            [head] = (await read_chains(connection, [outer]))[outer]
            await appended(connection, chain(outer, ["sealed"], head.head))
    chains = await read_chains(connection, [outer, inner])
    assert {record: len(rows) for record, rows in chains.items()} == {outer: 2}


async def test_after_a_failure_nothing_goes_until_the_rollback(connection: Connection) -> None:
    record = new_record_id()
    transaction = connection.transaction()
    await transaction.start()
    await appended(connection, chain(record, ["received"]))
    with pytest.raises(asyncpg.CheckViolationError):
        await ledger.append(connection, [chain(new_record_id(), ["received", "decided"])])
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await read_chains(connection, [record])
    await transaction.rollback()
    assert await read_chains(connection, [record]) == {}


async def test_committing_a_failed_transaction_undoes_it(connection: Connection) -> None:
    record = new_record_id()
    async with connection.transaction():
        await appended(connection, chain(record, ["received"]))
        with pytest.raises(asyncpg.CheckViolationError):
            await ledger.append(connection, [chain(new_record_id(), ["received", "decided"])])
    assert await read_chains(connection, [record]) == {}


async def test_a_connection_lost_within_a_transaction_undoes_it_and_is_transient(pool: Pool) -> None:
    record = new_record_id()

    async def work() -> None:
        async with pool.acquire() as connection, connection.transaction():
            await appended(connection, chain(record, ["received"]))
            connection.terminate()
            await read_chains(connection, [record])

    with pytest.raises(Exception) as lost:  # noqa: PT011 (stages ask is_transient)
        await work()
    assert is_transient(lost.value)
    assert await ledger.append(pool, [chain(record, ["received"])]) == {}, "its locks are free"


@pytest.mark.parametrize("tenant", ["a\0", "\ud800"])
async def test_text_that_cannot_be_stored_blames_its_row(pool: Pool, tenant: str) -> None:
    with pytest.raises(Exception) as refused:  # noqa: PT011 (the database's error or the driver's)
        await pool.fetch(INTAKE["claim_keys"], [tenant], [b"a"], [b"1"], [new_record_id()])
    assert blames_a_row(refused.value)


async def test_a_generator_is_no_array(pool: Pool) -> None:
    with pytest.raises(Exception) as refused:  # noqa: PT011 (the driver's error is of no public class)
        await pool.fetch(ROUTER["cancelled"], (record for record in [new_record_id()]))
    assert blames_a_row(refused.value)


async def test_rows_are_read_by_name_by_place_and_whole(pool: Pool) -> None:
    record = new_record_id()
    await pool.execute(INTAKE["open_records"], [record], ["t"], -HOUR)
    [row] = await pool.fetch(RECORDER["lock_silent"], 1)
    assert (row["record_id"], row[1], tuple(row), dict(row)) == (
        record,
        0,
        (record, 0),
        {"record_id": record, "sweeps": 0},
    )
    assert (len(row), row.get("sweeps"), row.get("none"), "sweeps" in row, list(row.keys())) == (
        2,
        0,
        None,
        True,
        ["record_id", "sweeps"],
    )
    assert await pool.fetchrow(RECORDER["lock_silent"], 0) is None
    with pytest.raises(KeyError):
        row["none"]
