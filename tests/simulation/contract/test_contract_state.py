"""Who works and what waits: leases, held rows, what lies aside, open records, and upkeep."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from support.chains import appended, chain

from services.runtime import queries, vault
from services.runtime.ids import new_claim_id, new_record_id
from services.runtime.lease import living
from services.runtime.vault import Content
from simulation.contract import Connection, Pool

INTAKE, ROUTER, EXECUTOR, RECORDER = (queries.load(name) for name in ("intake", "router", "executor", "recorder"))
LEASE, PEOPLE, CANCEL, MIGRATE, HOST = (
    queries.load(name) for name in ("lease", "cli_records", "cli_cancel", "migrate", "host")
)
HOUR = timedelta(hours=1)
MANY = 100


def clock() -> datetime:
    return datetime.now(UTC)


async def test_a_lease_lives_until_it_expires_or_is_released(pool: Pool) -> None:
    live, dead, gone = (new_claim_id() for _ in range(3))
    for worker, time in ((live, -HOUR), (live, HOUR), (dead, HOUR), (dead, -HOUR), (gone, HOUR)):
        await pool.execute(LEASE["renew"], worker, "host", time)
    await pool.execute(LEASE["release"], gone)
    assert await living(pool, [live, dead, gone, new_claim_id()]) == {live}
    await pool.execute(LEASE["sweep"])
    assert await living(pool, [live, live]) == {live}


async def hold(connection: Connection, rows: Iterable[tuple[UUID, int, datetime | None, datetime]]) -> None:
    ids, seqs, dues, deadlines = (list(column) for column in zip(*rows, strict=True))
    await connection.execute(EXECUTOR["hold"], ids, seqs, ["t"] * len(ids), ["why"] * len(ids), dues, deadlines)


async def due(connection: Connection, limit: int = MANY) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(ROUTER["lock_due"], limit)]


async def test_what_is_held_goes_on_for_the_first_reason_that_counts(pool: Pool) -> None:
    decided, cancelled, expired, ready, waiting, for_people = (new_record_id() for _ in range(6))
    now = clock()
    await pool.fetch(INTAKE["claim_keys"], ["t", "t"], [b"a", b"b"], [b"1", b"2"], [decided, cancelled])
    await pool.execute(INTAKE["cancel_keys"], ["t", "t"], [b"a", b"b"])
    await hold(pool, [(decided, 3, now - HOUR, now - HOUR)])
    await hold(pool, [(cancelled, 3, now - HOUR, now - HOUR)])
    await hold(pool, [(expired, 3, now - HOUR, now - HOUR)])
    await hold(pool, [(ready, 3, now - HOUR, now + HOUR), (waiting, 3, now + HOUR, now + HOUR)])
    await hold(pool, [(for_people, 3, None, now + HOUR)])
    assert await pool.fetch(PEOPLE["set_verdict"], decided, 3, "retry") == [(decided,)]
    rows = await due(pool)
    assert [(row[0], row[1], row[3]) for row in rows] == [
        (decided, 3, "retry"),
        (cancelled, 3, "cancelled"),
        (expired, 3, "expired"),
        (ready, 3, "due"),
    ], "oldest first"
    assert [row[2] is None for row in rows] == [False, True, True, True], "a verdict has an actor"
    assert [row[0] for row in await due(pool, 2)] == [decided, cancelled]
    await pool.execute(ROUTER["delete_held"], [decided, cancelled, expired])
    assert [row[0] for row in await due(pool)] == [ready]


async def test_a_record_to_which_two_keys_lead_is_released_once(pool: Pool) -> None:
    record, now = new_record_id(), clock()
    await appended(pool, chain(record, ["received"]))
    await pool.fetch(INTAKE["claim_keys"], ["t", "t"], [b"a", b"b"], [b"1", b"2"], [record, record])
    await pool.fetch(CANCEL["cancel_records"], [record])
    await hold(pool, [(record, 3, now - HOUR, now + HOUR)])
    assert await due(pool) == [(record, 3, None, "cancelled")]


async def test_a_verdict_lands_once_and_on_the_hold_it_names(pool: Pool) -> None:
    record = new_record_id()
    await hold(pool, [(record, 3, None, clock() + HOUR)])
    assert await pool.fetch(PEOPLE["set_verdict"], record, 2, "retry") == []
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.fetch(PEOPLE["set_verdict"], record, 3, "perhaps")
    assert await pool.fetch(PEOPLE["set_verdict"], record, 3, "charged") == [(record,)]
    assert await pool.fetch(PEOPLE["set_verdict"], record, 3, "retry") == []
    assert [row[3] for row in await due(pool)] == ["charged"]
    with pytest.raises(asyncpg.UniqueViolationError):
        await hold(pool, [(record, 5, None, clock() + HOUR)])


async def test_jobs_are_read_with_their_cancel_and_without_what_is_gone(pool: Pool) -> None:
    there, gone, entry = new_record_id(), new_record_id(), new_claim_id()
    await vault.store(pool, [Content(there, entry, "job", b"job"), Content(gone, entry, "output", b"no job")])
    await pool.fetch(INTAKE["claim_keys"], ["t"], [b"a"], [b"1"], [gone])
    await pool.execute(INTAKE["cancel_keys"], ["t"], [b"a"])
    rows = await pool.fetch(EXECUTOR["read_jobs"], [there, gone], [entry, entry])
    assert {row["record_id"]: (row["ciphertext"], row["cancelled"]) for row in rows} == {
        there: (b"job", False),
        gone: (None, True),
    }


async def test_what_lies_aside_is_drained_once_it_is_sealed(pool: Pool) -> None:
    open_one, sealed_one = new_record_id(), new_record_id()
    entries = [new_claim_id() for _ in range(4)]
    await appended(pool, chain(open_one, ["received"]), chain(sealed_one, ["received", "sealed"]))
    await pool.execute(EXECUTOR["put_aside"], open_one, entries[0], "late_result", "{}")
    for entry in entries[1:]:
        await pool.execute(EXECUTOR["put_aside"], sealed_one, entry, "late_result", f'{{"entry": "{entry}"}}')
    await pool.execute(EXECUTOR["put_aside"], sealed_one, entries[1], "late_result", "another")
    rows = await pool.fetch(RECORDER["lock_aside"], MANY, [entries[2]])
    assert [row["entry_id"] for row in rows] == [entries[1], entries[3]], "oldest first, without what was given up"
    assert rows[0]["data"] == f'{{"entry": "{entries[1]}"}}'
    assert len(await pool.fetch(RECORDER["lock_aside"], 1, [])) == 1
    await pool.execute(RECORDER["delete_aside"], sealed_one, entries[1])
    rows = await pool.fetch(RECORDER["lock_aside"], MANY, [])
    assert [row["entry_id"] for row in rows] == entries[2:]


async def test_an_open_record_is_silent_swept_and_closed(pool: Pool) -> None:
    silent, fresh = new_record_id(), new_record_id()
    assert await pool.fetchval(RECORDER["any_silent"]) is False
    await pool.execute(INTAKE["open_records"], [fresh], ["t"], HOUR)
    assert await pool.fetchval(RECORDER["any_silent"]) is False
    await pool.execute(INTAKE["open_records"], [silent], ["t"], -HOUR)
    assert await pool.fetchval(RECORDER["any_silent"]) is True
    assert await pool.fetch(RECORDER["lock_silent"], MANY) == [(silent, 0)]
    waits = [-HOUR, -2 * HOUR, HOUR]
    await pool.execute(RECORDER["swept"], [silent, fresh, new_record_id()], waits, [True, False, True])
    assert await pool.fetch(RECORDER["lock_silent"], MANY) == [(fresh, 0), (silent, 1)], "longest silent first"
    assert await pool.fetch(RECORDER["lock_silent"], 1) == [(fresh, 0)]
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute(INTAKE["open_records"], [new_record_id(), silent], ["t", "t"], HOUR)
    await pool.execute(RECORDER["close_records"], [silent, fresh, new_record_id()])
    assert await pool.fetch(RECORDER["lock_silent"], MANY) == []


async def test_keys_without_a_record_are_told(pool: Pool) -> None:
    record, orphan = new_record_id(), new_record_id()
    await appended(pool, chain(record, ["received"]))
    assert await pool.fetch(RECORDER["without_record"], [record, orphan]) == [(orphan,)]


async def test_upkeep_leaves_young_keys_and_migrated_partitions(pool: Pool) -> None:
    await pool.fetch(INTAKE["claim_keys"], ["t"], [b"a"], [b"1"], [new_record_id()])
    await pool.execute(RECORDER["forget_keys"])
    assert len(await pool.fetch(INTAKE["read_keys"], ["t"], [b"a"])) == 1
    assert await pool.fetchval(MIGRATE["ensure_partitions"], clock().date(), 1) == 0
    assert await pool.fetchval(MIGRATE["default_partition_rows"]) is False
    assert await pool.fetchval(HOST["ping"]) == 1
