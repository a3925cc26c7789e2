"""What only the database in memory has: traffic that the world decides on, processes that die, and its own lock."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from support.chains import appended, chain

from services.runtime import ledger, queries
from services.runtime.ids import new_record_id
from services.runtime.ledger import read_chains
from services.runtime.postgres import is_transient
from simulation.memory_database import MemoryDatabase, MemoryPool
from simulation.memory_registry import UnknownStatementError, find

INTAKE, LEASE, RECORDER = queries.load("intake"), queries.load("lease"), queries.load("recorder")
SERVICES = Path(__file__).parents[2] / "services"
STAGES = ("classifier", "router", "executor", "recorder")
RUNTIME = ("ledger", "lease", "keyring", "tenant_keys", "tenants", "vault")
OFF = ("notary",)
"""What a deployment in memory never does: its transactions have no numbers, and it has no notary's key."""
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BOUND_S = 120


class World:
    """Traffic that fails or stops where a test says so, and remembers what passed."""

    def __init__(self) -> None:
        self.now = NOON
        self.passed: list[tuple[str, str, str]] = []
        self.reached: defaultdict[tuple[str, str, str], asyncio.Event] = defaultdict(asyncio.Event)
        self.at: dict[tuple[str, str], Callable[[], None]] = {}
        self.never: set[tuple[str, str]] = set()

    async def before(self, process: str, what: str) -> None:
        await self._pass("before", process, what)

    async def after(self, process: str, what: str) -> None:
        await self._pass("after", process, what)

    async def _pass(self, when: str, process: str, what: str) -> None:
        self.passed.append((when, process, what))
        self.reached[when, process, what].set()
        if (when, what) in self.never:
            await asyncio.Event().wait()
        self.at.get((when, what), lambda: None)()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def database(world: World) -> MemoryDatabase:
    return MemoryDatabase(lambda: world.now, world)


def lost() -> None:
    raise asyncpg.ConnectionDoesNotExistError("lost")


async def store(pool: MemoryPool, record: UUID) -> None:
    """Append the beginning of a record in a transaction."""
    async with pool.acquire() as connection, connection.transaction():
        await appended(connection, chain(record, ["received"]))  # type: ignore[arg-type]


async def stop_in(world: World, database: MemoryDatabase, when: str, what: str) -> asyncio.Task[None]:
    """Return a process that stands still for ever at a round trip of a transaction that holds the lock."""
    world.never = {(when, what)}
    task = asyncio.create_task(store(database.pool("stopped"), new_record_id()))
    await asyncio.wait_for(world.reached[when, "stopped", what].wait(), BOUND_S)
    world.never = set()
    return task


async def until_in_line(world: World) -> None:
    """Return when the process that is to wait stands before the lock."""
    await asyncio.wait_for(world.reached["before", "waiting", "ledger.append"].wait(), BOUND_S)
    await asyncio.sleep(0)  # its own turn, from the event to the lock


# -- traffic ----------------------------------------------------------------------------------------------------------


async def test_every_round_trip_passes_the_world_twice(world: World, database: MemoryDatabase) -> None:
    await store(database.pool("a"), new_record_id())
    steps = ["BEGIN", "ledger.append", "COMMIT"]
    assert world.passed == [(when, "a", step) for step in steps for when in ("before", "after")]


@pytest.mark.parametrize("step", ["BEGIN", "ledger.append", "COMMIT"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_lost_connection_undoes_the_transaction_unless_its_commit_had_arrived(
    world: World, database: MemoryDatabase, step: str, when: str
) -> None:
    record = new_record_id()
    world.at[when, step] = lost
    with pytest.raises((asyncpg.ConnectionDoesNotExistError, asyncpg.InterfaceError)) as error:
        await store(database.pool("a"), record)
    assert is_transient(error.value)
    assert (record in database.tables.entry) == ((when, step) == ("after", "COMMIT"))
    assert database.holder is None


async def test_a_lost_connection_is_of_no_more_use(world: World, database: MemoryDatabase) -> None:
    world.at["after", "lease.sweep"] = lost
    async with database.pool("a").acquire() as connection:
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await connection.execute(LEASE["sweep"])
        with pytest.raises(asyncpg.InterfaceError):
            await connection.execute(LEASE["alive"], [])
        assert connection.is_closed()


async def test_a_statement_of_its_own_has_taken_effect_when_only_its_answer_is_lost(
    world: World, database: MemoryDatabase
) -> None:
    worker = new_record_id()
    for when, expected in (("before", set()), ("after", {worker})):
        world.at = {(when, "lease.renew"): lost}
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await database.pool("a").execute(LEASE["renew"], worker, "host", timedelta(hours=1))
        assert set(database.tables.lease) == expected


# -- processes that die, and the lock ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("when", "what"), [("after", "ledger.append"), ("before", "COMMIT")])
async def test_a_dead_process_is_undone_and_whoever_waited_goes_on(
    world: World, database: MemoryDatabase, when: str, what: str
) -> None:
    task = await stop_in(world, database, when, what)
    assert database.holder == "stopped"
    record = new_record_id()
    waiting = asyncio.create_task(store(database.pool("waiting"), record))
    await until_in_line(world)
    assert not waiting.done(), "one writer at a time"
    database.disconnect("stopped")
    await asyncio.wait_for(waiting, BOUND_S)
    assert set(database.tables.entry) == {record}
    task.cancel()
    with pytest.raises((asyncio.CancelledError, asyncpg.InterfaceError)):
        await task
    assert set(database.tables.entry) == {record}


async def test_who_waits_is_told_when_its_connection_ends(world: World, database: MemoryDatabase) -> None:
    task = await stop_in(world, database, "before", "COMMIT")
    waiting = asyncio.create_task(store(database.pool("waiting"), new_record_id()))
    await until_in_line(world)
    database.disconnect("waiting")
    with pytest.raises((asyncpg.ConnectionDoesNotExistError, asyncpg.InterfaceError)) as error:
        await asyncio.wait_for(waiting, BOUND_S)
    assert is_transient(error.value)
    assert database.holder == "stopped"
    task.cancel()
    await asyncio.wait([task])


async def test_who_dies_in_the_very_moment_of_its_turn_writes_nothing(world: World, database: MemoryDatabase) -> None:
    task = await stop_in(world, database, "before", "COMMIT")
    waiting = asyncio.create_task(store(database.pool("waiting"), new_record_id()))
    await until_in_line(world)
    database.disconnect("stopped")
    assert database.holder == "waiting"
    database.disconnect("waiting")
    with pytest.raises((asyncpg.ConnectionDoesNotExistError, asyncpg.InterfaceError)):
        await asyncio.wait_for(waiting, BOUND_S)
    assert database.tables.entry == {}
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("at_once", [True, False])
async def test_whoever_gives_up_waiting_leaves_the_line(world: World, database: MemoryDatabase, at_once: bool) -> None:
    task = await stop_in(world, database, "before", "COMMIT")
    gone = asyncio.create_task(store(database.pool("waiting"), new_record_id()))
    await until_in_line(world)
    record = new_record_id()
    last = asyncio.create_task(store(database.pool("last"), record))
    gone.cancel()
    if not at_once:
        await asyncio.wait([gone])
    database.disconnect("stopped")
    await asyncio.wait_for(last, BOUND_S)
    assert set(database.tables.entry) == {record}
    assert database.holder is None
    task.cancel()
    await asyncio.wait([task])


async def test_reads_never_wait(world: World, database: MemoryDatabase) -> None:
    task = await stop_in(world, database, "before", "COMMIT")
    pool = database.pool("reader")
    assert await asyncio.wait_for(pool.fetch(queries.load("ledger")["read_chains"], []), BOUND_S) == []
    database.disconnect("stopped")
    task.cancel()
    await asyncio.wait([task])


async def test_a_pool_has_so_many_connections_and_no_more(database: MemoryDatabase) -> None:
    pool = database.pool("a", size=1)
    async with pool.acquire():
        second = asyncio.create_task(pool.execute(LEASE["sweep"]))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not second.done()
    await asyncio.wait_for(second, BOUND_S)


# -- time -------------------------------------------------------------------------------------------------------------


async def test_two_transactions_never_begin_at_once(database: MemoryDatabase) -> None:
    """Else a cancel of an earlier transaction would count as one that came in the replay's own."""
    pool, original, replay = database.pool("a"), new_record_id(), new_record_id()
    await pool.fetch(INTAKE["claim_keys"], ["t"], [b"a"], [b"1"], [original])
    await pool.execute(INTAKE["cancel_keys"], ["t"], [b"a"])
    await pool.execute(INTAKE["repoint_keys"], ["t"], [b"a"], [original], [replay])
    assert database.tables.idempotency["t", b"a"].cancelled_at is None


async def test_what_is_old_is_swept(world: World, database: MemoryDatabase) -> None:
    pool = database.pool("a")
    for age, left in ((timedelta(), 1), (timedelta(days=1), 1), (timedelta(days=31), 0)):
        await pool.execute(LEASE["renew"], UUID(int=1), "host", timedelta(seconds=1))
        await pool.fetch(INTAKE["claim_keys"], ["t"], [b"a"], [b"1"], [UUID(int=1)])
        world.now = NOON + age
        await pool.execute(LEASE["sweep"])
        await pool.execute(RECORDER["forget_keys"])
        assert len(database.tables.idempotency) == left
    assert database.tables.lease == {}


# -- which statements are known ---------------------------------------------------------------------------------------

_LOADED = re.compile(r"(\w+)(?:: Final)? = queries\.load\(\"(\w+)\"\)")


def used() -> Iterator[tuple[str, str]]:
    """Give file and name of every query of the stages, and of what they stand on, by the source's own text."""
    files = [file for stage in STAGES for file in sorted((SERVICES / stage).rglob("*.py"))]
    for file in [*files, *(SERVICES / "runtime" / f"{name}.py" for name in RUNTIME)]:
        text = file.read_text(encoding="utf-8")
        for variable, loaded in _LOADED.findall(text):
            for name in re.findall(rf"\b{variable}\[\"(\w+)\"\]", text):
                if loaded not in OFF:
                    yield loaded, name


def test_every_query_of_the_stages_is_known() -> None:
    wanted = sorted(set(used()))
    assert {file for file, _ in wanted} >= {"intake", "router", "executor", "recorder", "ledger", "vault", "keyring"}
    assert [find(queries.load(file)[name]).name for file, name in wanted] == [f"{f}.{n}" for f, n in wanted]


async def test_an_unknown_statement_is_named(database: MemoryDatabase) -> None:
    with pytest.raises(UnknownStatementError, match="replay_of"):
        await database.pool("a").fetch(queries.load("cli_records")["replays_of"], new_record_id())


async def test_the_ledger_works_over_it(database: MemoryDatabase) -> None:
    pool = database.pool("a")
    first = chain(new_record_id(), ["received", "classified"])
    record = first.entries[0].record_id
    assert await ledger.append(pool, [first]) == {}  # type: ignore[arg-type]
    assert await read_chains(pool, [record]) == {record: list(first.entries)}  # type: ignore[arg-type]
