"""What is kept of a record: entries behind their fence, content, and the keys to it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from support import sql
from support.chains import AT, appended, chain
from support.fence_model import transitions_of_migrations

from services.runtime import ledger, queries, vault
from services.runtime.ids import new_claim_id, new_record_id
from services.runtime.keyring import PostgresKeyring
from services.runtime.ledger import ChainWriter, read_chains, writes
from services.runtime.master_keys import MasterKey, MasterKeys
from services.runtime.vault import Content
from simulation.contract import Connection, Pool

LEDGER = queries.load("ledger")


async def test_what_goes_in_gives_no_rows_and_what_does_not_gives_what_is_stored(connection: Connection) -> None:
    new, known, follower = sorted((new_record_id() for _ in range(3)), key=lambda record_id: record_id.int)
    first, second = chain(known, ["received", "classified"]), chain(follower, ["received"])
    await appended(connection, first, second)
    more = chain(follower, ["classified", "decided"], second.entries[-1].head)
    refused = await ledger.append(connection, [more, first, chain(new, ["received"])])
    assert refused == {known: list(first.entries)}
    assert await read_chains(connection, [follower, known]) == {
        known: list(first.entries),
        follower: [*second.entries, *more.entries],
    }


async def test_a_stale_writer_learns_what_followed_and_an_unknown_head_nothing(connection: Connection) -> None:
    record = new_record_id()
    [head] = await appended(connection, chain(record, ["received", "classified"]))
    won = chain(record, ["decided", "held"], head.head, cause="won")
    await appended(connection, won)
    assert await ledger.append(connection, [chain(record, ["decided"], head.head)]) == {record: list(won.entries)}
    wrong = ledger.ChainHead(head.seq, "00" * 32)
    assert await ledger.append(connection, [chain(record, ["sealed"], wrong, cause="x")]) == {record: list(won.entries)}
    far = ledger.ChainHead(9, "00" * 32)
    assert await ledger.append(connection, [chain(record, ["sealed"], far)]) == {record: []}
    assert await ledger.append(connection, [chain(new_record_id(), ["decided"])]) != {}, "a record begins as received"


async def test_what_is_no_chain_refuses_the_whole_call(connection: Connection) -> None:
    good, broken = chain(new_record_id(), ["received"]), chain(new_record_id(), ["received", "decided"])
    with pytest.raises(asyncpg.CheckViolationError, match=f"record {broken.entries[0].record_id} do not form a chain"):
        await ledger.append(connection, [good, broken])
    assert await read_chains(connection, [good.entries[0].record_id]) == {}


async def test_a_link_to_another_entry_is_no_chain(connection: Connection) -> None:
    """Given as the database gets it: our own writer links entries by itself."""
    first, second = chain(new_record_id(), ["received", "classified"]).entries
    columns = [list(column) for column in zip(first, second, strict=True)]
    records, seqs, ids, kinds, bodies, hashes = columns
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.fetch(
            LEDGER["append"], records, seqs, ids, kinds, [1, 1], bodies, hashes, [None, b"1" * 32], [AT, AT]
        )


async def test_a_late_entry_is_single(connection: Connection) -> None:
    record, late = new_record_id(), new_claim_id()
    [head] = await appended(connection, chain(record, ["received", "sealed"]))
    twice = ChainWriter(record, head.head)
    for _ in range(2):
        twice.add("late_result", {}, AT, entry_id=late)
    with pytest.raises(asyncpg.UniqueViolationError):
        await ledger.append(connection, [writes(twice, head.head, AT)])
    once = ChainWriter(record, head.head)
    entry = once.add("late_result", {}, AT, entry_id=late)
    assert await ledger.append(connection, [writes(once, head.head, AT)]) == {}
    again = ChainWriter(record, entry.head)
    again.add("late_result", {"again": True}, AT, entry_id=late)
    assert await ledger.append(connection, [writes(again, entry.head, AT)]) == {record: []}


async def test_a_loser_learns_who_won_and_wins_where_the_other_is_undone(pool: Pool) -> None:
    for commits in (True, False):
        async with pool.acquire() as one, pool.acquire() as two:
            [head] = await appended(one, chain(new_record_id(), ["received", "classified"]))
            ours, theirs = (chain(head.record_id, ["decided"], head.head, cause=cause) for cause in "ab")
            transaction = one.transaction()
            await transaction.start()
            await appended(one, ours)
            losing = asyncio.create_task(ledger.append(two, [theirs]))
            await (transaction.commit() if commits else transaction.rollback())
            assert await losing == ({head.record_id: list(ours.entries)} if commits else {})


async def test_the_fence_in_memory_knows_the_rules_of_the_migrations(database: str) -> None:
    connection = await asyncpg.connect(database)
    rows = await connection.fetch(sql.load("ledger")["transitions"])
    await connection.close()
    assert {(row["after"], row["kind"]) for row in rows} == transitions_of_migrations()


async def test_content_stored_twice_stays_as_it_was(connection: Connection) -> None:
    record, entry = new_record_id(), new_claim_id()
    await vault.store(connection, [Content(record, entry, "job", b"first"), Content(record, entry, "output", b"out")])
    await vault.store(connection, [Content(record, entry, "job", b"second")])
    found = await vault.load(connection, [(record, entry, "job"), (record, new_claim_id(), "job")])
    assert found == {(record, "job"): Content(record, entry, "job", b"first")}


async def test_content_goes_in_with_its_chain_or_not_at_all(connection: Connection) -> None:
    record, claim = new_record_id(), new_claim_id()
    [entry] = await appended(connection, chain(record, ["received"]))
    first, again = chain(record, ["classified"], entry.head), chain(record, ["sealed"], entry.head)
    assert await ledger.append(connection, [first], [Content(record, claim, "request", b"sent")]) == {}
    lost = await ledger.append(connection, [again], [Content(record, new_claim_id(), "request", b"never sent")])
    assert list(lost) == [record]
    other = chain(new_record_id(), ["received"])
    kept = Content(other.entries[0].record_id, claim, "request", b"of another")
    lost = await ledger.append(connection, [again, other], [Content(record, claim, "output", b"no"), kept])
    assert list(lost) == [record]
    places = [(r, claim, kind) for r in (record, kept.record_id) for kind in ("request", "output")]
    found = await vault.load(connection, places)
    assert {key: content.ciphertext for key, content in found.items()} == {
        (record, "request"): b"sent",
        (kept.record_id, "request"): b"of another",
    }


async def test_keys_of_records(pool: Pool) -> None:
    keyring = PostgresKeyring(pool, MasterKeys([MasterKey(bytes(32))]))
    records = sorted((new_record_id() for _ in range(4)), key=lambda record_id: record_id.int)
    made = await keyring.create(records)
    assert {r: key.secret for r, key in (await keyring.load([*records, new_record_id()])).items()} == {
        r: key.secret for r, key in made.items()
    }
    with pytest.raises(asyncpg.UniqueViolationError):
        await keyring.create([new_record_id(), records[0]])
    assert await keyring.between(records[0], records[3], 10) == records[1:3]
    assert await keyring.between(records[0], records[3], 1) == records[1:2]
    assert await keyring.delete([records[1], new_record_id()]) == 1
    assert set(await keyring.load(records)) == {records[0], records[2], records[3]}
