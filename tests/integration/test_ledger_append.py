"""The fence, ``record.append``: against a model of it, under races, and by the plan it uses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import sql
from support.chains import AT, appended, chain, received
from support.fence_model import Fence, NoChainError, equal

from schemas.codes import EntryKind
from schemas.messages import Head
from services.runtime import ledger, queries
from services.runtime.ids import new_claim_id, new_record_id
from services.runtime.ledger import ChainWriter, Entry, read_chains, verify_chain, writes
from services.runtime.postgres import Connection

_SQL = sql.load("ledger")
_APPEND = queries.load("ledger")["append"]
RECORDS = 4
KINDS = tuple(EntryKind)
BOUND_S = 120


@pytest_asyncio.fixture
async def writers(database: str) -> AsyncIterator[list[Connection]]:
    """Eight connections of their own."""
    async with AsyncExitStack() as stack:
        connections: list[Connection] = [await asyncpg.connect(database) for _ in range(8)]
        for connection in connections:
            stack.push_async_callback(connection.close)
        yield connections


@pytest_asyncio.fixture
async def transitions(connection: Connection) -> frozenset[tuple[str, str]]:
    return frozenset((row["after"], row["kind"]) for row in await connection.fetch(_SQL["transitions"]))


class Step(NamedTuple):
    """One chain of a call: for which record, after which of its entries, and how it is wrong, if it is."""

    record: int
    back: int
    """How many entries before the last one the writer believes to be the head."""
    kinds: tuple[int, ...]
    """Which of the kinds that may follow each entry has, or any kind where it is negative."""
    cause: int
    """Equal causes at one place make the same entry: a redelivery."""
    wrong_hash: bool
    gap: bool


STEPS = st.builds(
    Step,
    record=st.integers(0, RECORDS - 1),
    back=st.sampled_from([0, 0, 0, 0, 1, 2]),
    kinds=st.lists(st.integers(-len(KINDS), 40), min_size=1, max_size=4).map(tuple),
    cause=st.integers(0, 1),
    wrong_hash=st.sampled_from([False] * 9 + [True]),
    gap=st.sampled_from([False] * 19 + [True]),
)
CALLS = st.lists(st.lists(STEPS, min_size=1, max_size=RECORDS), min_size=1, max_size=14)


def planned(step: Step, record_id: UUID, fence: Fence, transitions: frozenset[tuple[str, str]]) -> ledger.Writes:
    """Return the chain that a step describes, as a writer would make it that believes what the step says."""
    rows = fence.stored.get(record_id, [])
    believed = rows[: max(0, len(rows) - step.back)]
    head = believed[-1].head if believed else None
    after = believed[-1].kind if believed else ""
    if head is not None and step.wrong_hash:
        head = Head(seq=head.seq, hash="00" * 32)
    writer = ChainWriter(record_id, head)
    for place, choice in enumerate(step.kinds):
        allowed = sorted(kind for before, kind in transitions if before == after) or list(KINDS)
        after = KINDS[-choice - 1] if choice < 0 else allowed[choice % len(allowed)]
        # Late kinds repeat their id by cause alone: the partial index has to keep them single wherever they stand.
        cause = f"{step.cause}" if after == EntryKind.LATE_RESULT else f"{step.cause}/{len(believed) + place}"
        writer.add(after, {"n": choice}, AT, cause=cause)
    if step.gap and len(writer.entries) > 1:
        del writer.entries[1]
    return writes(writer, head, AT)


@given(calls=CALLS)
@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_append_does_what_the_model_does(
    connection: Connection, transitions: frozenset[tuple[str, str]], calls: list[list[Step]]
) -> None:
    fence = Fence(transitions)
    records = [new_record_id() for _ in range(RECORDS)]
    for call in calls:
        steps = {step.record: step for step in call}
        chains = [planned(step, records[step.record], fence, transitions) for step in steps.values()]
        if _repeats_a_late_entry(chains):
            continue  # one writer giving the same late entry twice is an error of its own, tested below
        try:
            expected = fence.append(chains)
        except NoChainError:
            with pytest.raises(asyncpg.CheckViolationError, match="do not form a chain"):
                await ledger.append(connection, chains)
        else:
            found = await ledger.append(connection, chains)
            assert set(found) == set(expected), "which records were refused"
            assert equal(found, expected), "what is stored where a chain was refused"
        stored = await read_chains(connection, records)
        assert equal(stored, fence.stored)
        assert [verify_chain(rows) for rows in stored.values()] == [None] * len(stored)


def _repeats_a_late_entry(chains: Sequence[ledger.Writes]) -> bool:
    late = [e.entry_id for c in chains for e in c.entries if e.kind == EntryKind.LATE_RESULT]
    first = [c.entries[0].entry_id for c in chains if c.entries[0].kind == EntryKind.LATE_RESULT]
    return len(late) > len(first)


async def test_a_late_entry_goes_in_once_wherever_it_stands(connection: Connection) -> None:
    record = new_record_id()
    late = new_claim_id()
    [head] = await appended(connection, chain(record, ["received", "sealed"]))
    for place in range(2):
        writer = ChainWriter(record, head.head)
        entry = writer.add(EntryKind.LATE_RESULT, {"place": place}, AT, entry_id=late)
        met = await ledger.append(connection, [writes(writer, head.head, AT)])
        assert met == ({} if place == 0 else {record: []})
        head = entry if place == 0 else head
    assert [e.kind for e in (await read_chains(connection, [record]))[record]] == ["received", "sealed", "late_result"]


async def test_a_batch_of_many_records_goes_in_and_comes_back(connection: Connection) -> None:
    chains = [chain(new_record_id(), ["received", "classified", "decided"]) for _ in range(2_000)]
    shuffled = random.Random(7).sample(chains, len(chains))
    assert await ledger.append(connection, shuffled) == {}
    again = await ledger.append(connection, chains)
    assert equal(again, {c.entries[0].record_id: c.entries for c in chains})
    mixed = [*chains[:500], *(received(new_record_id()) for _ in range(500))]
    assert set(await ledger.append(connection, mixed)) == {c.entries[0].record_id for c in chains[:500]}


async def test_bodies_are_stored_byte_for_byte(connection: Connection) -> None:
    record = new_record_id()
    written = chain(record, ["received", "classified", "decided"])
    await appended(connection, written)
    rows = await connection.fetch(_SQL["texts"], record)
    assert [row["body"] for row in rows] == [entry.body for entry in written.entries]
    assert all(row["hash_verifies"] and row["copies_agree"] for row in rows)
    assert (await read_chains(connection, [record]))[record] == list(written.entries)


@pytest.mark.parametrize(
    ("kinds", "seqs", "prevs"),
    [
        (["received", "decided"], [0, 1], [None, b"1" * 32]),
        (["received", "classified"], [0, 2], [None, b"1" * 32]),
        (["received", "classified"], [0, 0], [None, b"1" * 32]),
        (["received", "classified"], [0, 1], [None, b"2" * 32]),
        (["received", "classified"], [0, 1], [None, None]),
    ],
    ids=["kind", "gap", "twice", "hash", "no hash"],
)
async def test_a_broken_chain_refuses_the_whole_call(
    connection: Connection, kinds: list[str], seqs: list[int], prevs: list[bytes | None]
) -> None:
    """Given as the database gets it: our own writer links entries by itself."""
    good, broken = new_record_id(), new_record_id()
    rows: list[tuple[UUID, int, str, bytes, bytes | None]] = [(good, 0, "received", b"0" * 32, None)]
    rows += [
        (broken, s, k, str(n + 1).encode() * 32, p) for n, (s, k, p) in enumerate(zip(seqs, kinds, prevs, strict=True))
    ]
    ids, numbers, names, hashes, previous = (list(column) for column in zip(*rows, strict=True))
    entries = [new_claim_id() for _ in rows]
    with pytest.raises(asyncpg.CheckViolationError, match=f"record {broken} do not form a chain"):
        await connection.fetch(
            _APPEND,
            ids,
            numbers,
            entries,
            names,
            [1] * len(rows),
            ["{}"] * len(rows),
            hashes,
            previous,
            [AT] * len(rows),
        )
    assert await connection.fetchval(_SQL["count"]) == 0


async def test_writers_racing_for_one_head_one_wins_and_all_learn_who(writers: list[Connection]) -> None:
    for _ in range(25):
        [head] = await appended(writers[0], chain(new_record_id(), ["received", "classified"]))
        attempts = [chain(head.record_id, ["decided", "sealed"], head.head, cause=str(n)) for n in range(len(writers))]
        answers = await asyncio.gather(*(ledger.append(c, [a]) for c, a in zip(writers, attempts, strict=True)))
        [winner] = [attempt for attempt, answer in zip(attempts, answers, strict=True) if not answer]
        assert [a for a in answers if a] == [{head.record_id: list(winner.entries)}] * (len(writers) - 1)


async def test_a_loser_waits_for_the_winners_commit_and_sees_its_rows(writers: list[Connection]) -> None:
    one, two, watcher = writers[:3]
    [head] = await appended(watcher, chain(new_record_id(), ["received", "classified"]))
    ours, theirs = (chain(head.record_id, ["decided"], head.head, cause=cause) for cause in "ab")
    for end, expected in (("commit", {head.record_id: list(ours.entries)}), ("rollback", {})):
        if end == "rollback":
            [head] = await appended(watcher, chain(new_record_id(), ["received", "classified"]))
            ours, theirs = (chain(head.record_id, ["decided"], head.head, cause=cause) for cause in "ab")
        transaction = one.transaction()
        await transaction.start()
        assert await ledger.append(one, [ours]) == {}
        losing = asyncio.create_task(ledger.append(two, [theirs]))
        await until_blocked(watcher, two.get_server_pid())
        await getattr(transaction, end)()
        assert await losing == expected


async def until_blocked(watcher: Connection, pid: int) -> None:
    async with asyncio.timeout(BOUND_S):
        while not await watcher.fetchval(_SQL["waiting_for_others"], [pid]):  # noqa: ASYNC110 (the server tells nobody)
            await asyncio.sleep(0.01)


async def test_writers_of_many_records_never_deadlock(writers: list[Connection]) -> None:
    """Each gives the records in another order; ``append`` sorts them, so that all lock alike."""
    heads = await appended(writers[0], *(chain(new_record_id(), ["received", "classified"]) for _ in range(300)))

    async def write(connection: Connection, number: int) -> dict[UUID, list[Entry]]:
        order = random.Random(number).sample(heads, len(heads))
        # In a transaction with further work behind it, so that the locks are held for longer than the statement.
        async with connection.transaction():
            answer = await ledger.append(
                connection, [chain(h.record_id, ["decided"], h.head, cause=str(number)) for h in order]
            )
            await read_chains(connection, [head.record_id for head in heads])
        return answer

    answers = await asyncio.gather(*(write(connection, n) for n, connection in enumerate(writers)))
    wins = sum(len(heads) - len(answer) for answer in answers)
    assert wins == len(heads), "each head was followed exactly once"


async def test_append_never_scans_the_entries(connection: Connection) -> None:
    await connection.execute(_SQL["many"], 50_000)
    for analyzed in (False, True):
        if analyzed:
            await connection.execute(_SQL["analyze"])
        await connection.fetch(_SQL["flush_counters"])
        before = await connection.fetchrow(_SQL["scans"])
        for size in (1, 2, 50, 500, 1, 500, 50, 3):
            chains = [chain(new_record_id(), ["received", "classified"]) for _ in range(size)]
            heads = await appended(connection, *chains)
            await appended(connection, *(chain(h.record_id, ["decided"], h.head) for h in heads))
            assert len(await ledger.append(connection, chains)) == size
        await connection.fetch(_SQL["flush_counters"])
        after = await connection.fetchrow(_SQL["scans"])
        assert before is not None
        assert after is not None
        assert after["seq_scans"] == before["seq_scans"]
        assert after["index_scans"] > before["index_scans"], "the counters count"
