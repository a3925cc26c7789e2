"""Keys of jobs: who answers for one, and what a cancel or a replay does to it."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from support.chains import appended, chain

from services.runtime import queries
from services.runtime.ids import new_record_id
from simulation.contract import Pool

INTAKE, ROUTER, CANCEL = (queries.load(name) for name in ("intake", "router", "cli_cancel"))


async def test_who_claims_a_key_first_answers_for_it(pool: Pool) -> None:
    one, two, three = (new_record_id() for _ in range(3))
    won = await pool.fetch(INTAKE["claim_keys"], ["t", "t"], [b"a", b"b"], [b"1", b"2"], [one, two])
    assert [(row["tenant"], row["key_hmac"], row["cancelled_at"]) for row in won] == [
        ("t", b"a", None),
        ("t", b"b", None),
    ]
    won = await pool.fetch(INTAKE["claim_keys"], ["t", "u"], [b"a", b"a"], [b"9", b"9"], [three, three])
    assert [(row["tenant"], row["key_hmac"]) for row in won] == [("u", b"a")], "a tenant's keys are its own"
    rows = await pool.fetch(INTAKE["read_keys"], ["t", "t", "t"], [b"a", b"b", b"unknown"])
    assert {row["key_hmac"]: (row["payload_hmac"], row["record_id"]) for row in rows} == {
        b"a": (b"1", one),
        b"b": (b"2", two),
    }


async def test_a_cancel_waits_for_its_job(pool: Pool) -> None:
    record = new_record_id()
    await pool.execute(INTAKE["cancel_keys"], ["t"], [b"a"])
    [waiting] = await pool.fetch(INTAKE["read_keys"], ["t"], [b"a"])
    assert (waiting["payload_hmac"], waiting["record_id"]) == (None, None)
    [won] = await pool.fetch(INTAKE["claim_keys"], ["t"], [b"a"], [b"1"], [record])
    assert won["cancelled_at"] is not None
    assert await pool.fetch(ROUTER["cancelled"], [record, new_record_id()]) == [(record,)]
    assert await pool.fetch(INTAKE["claim_keys"], ["t"], [b"a"], [b"1"], [new_record_id()]) == []


async def test_a_later_cancel_reaches_the_record(pool: Pool) -> None:
    record = new_record_id()
    await pool.fetch(INTAKE["claim_keys"], ["t"], [b"a"], [b"1"], [record])
    assert await pool.fetch(ROUTER["cancelled"], [record]) == []
    await pool.execute(INTAKE["cancel_keys"], ["t"], [b"a"])
    assert await pool.fetch(ROUTER["cancelled"], [record]) == [(record,)]


@pytest.mark.parametrize("query", ["claim_keys", "cancel_keys"])
async def test_a_key_stands_once_in_a_call(pool: Pool, query: str) -> None:
    columns: list[list[Any]] = [["t", "t"], [b"a", b"a"]]
    if query == "claim_keys":
        columns += [[b"1", b"1"], [new_record_id(), new_record_id()]]
    with pytest.raises(asyncpg.CardinalityViolationError):
        await pool.execute(INTAKE[query], *columns)
    assert await pool.fetch(INTAKE["read_keys"], ["t"], [b"a"]) == []


async def test_a_replay_takes_the_key_and_loses_the_originals_cancel(pool: Pool) -> None:
    original, other, replay = (new_record_id() for _ in range(3))
    await pool.fetch(INTAKE["claim_keys"], ["t", "t"], [b"a", b"b"], [b"1", b"2"], [original, other])
    await pool.execute(INTAKE["cancel_keys"], ["t", "t"], [b"a", b"b"])
    await pool.execute(INTAKE["repoint_keys"], ["t", "t"], [b"a", b"b"], [original, original], [replay, replay])
    rows = await pool.fetch(INTAKE["read_keys"], ["t", "t"], [b"a", b"b"])
    assert {row["key_hmac"]: row["record_id"] for row in rows} == {b"a": replay, b"b": other}
    assert await pool.fetch(ROUTER["cancelled"], [original, other, replay]) == [(other,)]


async def test_a_cancel_in_the_replays_own_transaction_stays(pool: Pool) -> None:
    original, replay = new_record_id(), new_record_id()
    await pool.fetch(INTAKE["claim_keys"], ["t"], [b"a"], [b"1"], [original])
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(INTAKE["cancel_keys"], ["t"], [b"a"])
        await connection.execute(INTAKE["repoint_keys"], ["t"], [b"a"], [original], [replay])
    assert await pool.fetch(ROUTER["cancelled"], [original, replay]) == [(replay,)]


async def test_a_person_cancels_by_record_what_has_not_ended(pool: Pool) -> None:
    open_one, sealed_one = new_record_id(), new_record_id()
    await appended(pool, chain(open_one, ["received"]), chain(sealed_one, ["received", "sealed"]))
    await pool.fetch(INTAKE["claim_keys"], ["t", "t"], [b"a", b"b"], [b"1", b"2"], [open_one, sealed_one])
    for expected in ([(open_one,)], []):
        assert await pool.fetch(CANCEL["cancel_records"], [open_one, sealed_one]) == expected
