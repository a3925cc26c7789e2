"""The same random calls, in transactions, savepoints and rollbacks, get the same answers in memory and on Postgres."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest
from support.chains import AT

from schemas.codes import EntryKind
from services.runtime import ledger, queries
from services.runtime.ids import new_record_id
from services.runtime.ledger import ChainHead, ChainWriter
from services.runtime.vault import Content
from simulation.contract import Connection, Pool
from simulation.memory_database import MemoryDatabase
from simulation.memory_facts import fact_tables
from simulation.memory_queries_record import TRANSITIONS

Answer: TypeAlias = list[tuple[Any, ...]] | str

HOUR = timedelta(hours=1)
MANY = 1000
FEW = 3
KINDS = tuple(EntryKind)
VERDICTS = ("retry", "charged", "not_charged", "perhaps")


class Call(NamedTuple):
    """One call of a query: small numbers choose among the few records, keys and entries there are."""

    query: str
    a: int
    b: int
    c: int


@dataclass(frozen=True)
class Things:
    """What the calls of one run are about."""

    tenant: str = "t"
    records: Sequence[UUID] = field(default_factory=lambda: [new_record_id() for _ in range(FEW)])
    others: Sequence[UUID] = field(default_factory=lambda: [new_record_id() for _ in range(FEW)])
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def some(self, choice: int) -> list[UUID]:
        """Return a few of the records, never the same twice."""
        return [record_id for place, record_id in enumerate(self.records) if choice >> place & 1]

    def near(self, choice: int) -> datetime:
        """Return a time that is surely past, or surely to come."""
        return self.now - HOUR if choice & 1 else self.now + HOUR

    def wait(self, choice: int) -> timedelta:
        """Return a time to wait that is surely over, or surely not."""
        return -HOUR if choice & 1 else HOUR


Arguments = Callable[[Things, int, int, int], Sequence[Any]]


def _keys(things: Things, choice: int) -> tuple[list[str], list[bytes]]:
    keys = [bytes([place]) for place in range(FEW) if choice >> place & 1]
    return [things.tenant] * len(keys), keys


def _claims(t: Things, a: int, b: int, c: int) -> Sequence[Any]:
    tenants, keys = _keys(t, a)
    return tenants, keys, [bytes([c])] * len(keys), [t.records[(b + n) % FEW] for n in range(len(keys))]


def _repoints(t: Things, a: int, b: int, c: int) -> Sequence[Any]:
    tenants, keys = _keys(t, a)
    return tenants, keys, [t.records[b % FEW]] * len(keys), [t.records[c % FEW]] * len(keys)


def _swept(t: Things, a: int, b: int, c: int) -> Sequence[Any]:
    records = t.some(a)
    return records, [t.wait(b)] * len(records), [bool(c & 1)] * len(records)


def _held(t: Things, a: int, b: int, c: int) -> Sequence[Any]:
    records = t.some(a)
    columns: list[Any] = [b, t.tenant, "why", None if b & 2 else t.near(b), t.near(c)]
    return [records, *([value] * len(records) for value in columns)]


def _contents(t: Things, a: int, b: int, c: int) -> Sequence[Any]:
    records = t.some(a)
    return records, [t.others[b % FEW]] * len(records), ["job"] * len(records), [bytes([c])] * len(records)


CALLS: Mapping[str, Arguments] = {
    "intake.claim_keys": _claims,
    "intake.read_keys": lambda t, a, b, c: _keys(t, a),
    "intake.cancel_keys": lambda t, a, b, c: _keys(t, a),
    "intake.repoint_keys": _repoints,
    "intake.open_records": lambda t, a, b, c: (t.some(a), [t.tenant] * len(t.some(a)), t.wait(b)),
    "ledger.read_chains": lambda t, a, b, c: (t.some(a),),
    "vault.store": _contents,
    "vault.load": lambda t, a, b, c: _contents(t, a, b, c)[:3],
    "keyring.create": lambda t, a, b, c: (t.some(a), [bytes([b])] * len(t.some(a)), "master"),
    "keyring.load": lambda t, a, b, c: (t.some(a),),
    "keyring.delete": lambda t, a, b, c: (t.some(a),),
    "keyring.between": lambda t, a, b, c: (t.records[a % FEW], t.records[b % FEW], MANY),
    "keyring.record_key_for_people": lambda t, a, b, c: (t.records[a % FEW],),
    "keyring.create_tenant_keys": lambda t, a, b, c: ([t.tenant, str(a)], [bytes([b]), bytes([c])], "master"),
    "keyring.load_tenant_keys": lambda t, a, b, c: ([t.tenant, str(a), str(b)],),
    "keyring.tenant_key_for_people": lambda t, a, b, c: (str(a),),
    "lease.renew": lambda t, a, b, c: (t.others[a % FEW], "host", t.wait(b)),
    "lease.release": lambda t, a, b, c: (t.others[a % FEW],),
    "lease.alive": lambda t, a, b, c: (t.others,),
    "router.cancelled": lambda t, a, b, c: (t.some(a),),
    "router.lock_due": lambda t, a, b, c: (MANY,),
    "router.delete_held": lambda t, a, b, c: (t.some(a),),
    "executor.read_jobs": lambda t, a, b, c: (t.some(a), [t.others[b % FEW]] * len(t.some(a))),
    "executor.hold": _held,
    "executor.put_aside": lambda t, a, b, c: (t.records[a % FEW], t.others[b % FEW], "late_result", str(c)),
    "recorder.close_records": lambda t, a, b, c: (t.some(a),),
    "recorder.lock_aside": lambda t, a, b, c: (MANY, t.others[: a % FEW]),
    "recorder.delete_aside": lambda t, a, b, c: (t.records[a % FEW], t.others[b % FEW]),
    "recorder.any_silent": lambda t, a, b, c: (),
    "recorder.lock_silent": lambda t, a, b, c: (MANY,),
    "recorder.swept": _swept,
    "recorder.without_record": lambda t, a, b, c: (t.some(a),),
    "cli_records.set_verdict": lambda t, a, b, c: (t.records[a % FEW], b, VERDICTS[c % len(VERDICTS)]),
    "cli_cancel.cancel_records": lambda t, a, b, c: (t.some(a),),
}
APPEND, COPY = "ledger.append", "facts.attempt"
# What others see: every record and key, and each entry that may have content.
LOOKS = [
    *(Call("executor.read_jobs", 7, place, 0) for place in range(FEW)),
    Call("ledger.read_chains", 7, 0, 0),
    Call("intake.read_keys", 7, 0, 0),
    Call("router.cancelled", 7, 0, 0),
    Call("keyring.load", 7, 0, 0),
    *(Call("keyring.load_tenant_keys", place, place + 1, 0) for place in range(0, 8, 2)),
    Call("lease.alive", 0, 0, 0),
    Call("recorder.any_silent", 0, 0, 0),
]
# Beside the calls: BEGIN or SAVEPOINT, COMMIT or RELEASE, ROLLBACK or ROLLBACK TO.
BEGIN, KEEP, UNDO = "begin", "keep", "undo"
NAMES = (*CALLS, *[APPEND] * 6, COPY, *[BEGIN] * 4, *[KEEP] * 3, *[UNDO] * 3)
STEPS = 150


def statement(name: str) -> str:
    file, _, query = name.partition(".")
    return queries.load(file)[query]


class Side:
    """One of the two databases: a connection that may be in a transaction, and a pool that sees what is committed."""

    def __init__(self, pool: Pool, connection: Connection, things: Things) -> None:
        self._pool = pool
        self._connection = connection
        self._things = things
        self._transactions: list[Any] = []

    async def take(self, step: Call) -> Answer:
        """Do one step and return its answer, without order, or the name of the error."""
        try:
            return _plain(await self._do(step))
        except asyncpg.PostgresError as error:
            return type(error).__name__

    async def see(self) -> list[Answer]:
        """Return what others see of the things."""
        return [_plain(await self._ask(self._pool, step)) for step in LOOKS]

    async def end(self) -> None:
        """Undo what is open."""
        while self._transactions:
            await self._transactions.pop().rollback()

    async def _do(self, step: Call) -> Sequence[Any]:
        if step.query == BEGIN:
            transaction = self._connection.transaction()
            await transaction.start()
            self._transactions.append(transaction)
        elif step.query in (KEEP, UNDO):
            if self._transactions:
                transaction = self._transactions.pop()
                await (transaction.commit() if step.query == KEEP else transaction.rollback())
        elif step.query == APPEND:
            return await self._append(step)
        elif step.query == COPY:
            await self._copy(step)
        else:
            return await self._ask(self._connection, step)
        return []

    async def _ask(self, connection: Connection, step: Call) -> Sequence[Any]:
        arguments = CALLS[step.query](self._things, step.a, step.b, step.c)
        return list(await connection.fetch(statement(step.query), *arguments))

    async def _append(self, step: Call) -> Sequence[Any]:
        """Continue a chain as a writer would that knows it, or has missed its last entries."""
        record_id = self._things.records[step.a % FEW]
        chain = (await ledger.read_chains(self._connection, [record_id])).get(record_id, [])
        known = chain[: len(chain) - (step.b == 0)]
        head = known[-1].head if known else None
        after = known[-1].kind if known else ""
        writer = ChainWriter(record_id, ChainHead(head.seq, "00" * 32) if head and step.a > FEW else head)
        for place in range(1 + step.b % 2):
            allowed = sorted(kind for before, kind in TRANSITIONS if before == after)
            after = KINDS[step.c] if step.a == 0 else allowed[step.c % len(allowed)]
            writer.add(after, {"c": step.c}, AT, cause=f"late {step.c}" if after == "late_result" else place)
        place = (record_id, self._things.others[step.c % FEW], "job", bytes([step.c]))
        contents = [Content(*place)] if step.b & 2 else []
        refused = await ledger.append(self._connection, [ledger.writes(writer, head, AT)], contents)
        return [(record_id, *rows) for record_id, rows in refused.items()]

    async def _copy(self, step: Call) -> None:
        columns = fact_tables()["attempt"].columns
        values = {"timestamptz": AT, "text": "attempt", "boolean": False, "integer": step.b, "numeric": step.c}
        row = [self._things.records[step.a % FEW] if c.type == "uuid" else values[c.type] for c in columns.values()]
        await self._connection.copy_records_to_table("attempt", schema_name="facts", columns=[*columns], records=[row])


def _plain(rows: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return rows as they compare: without order, which SQL leaves open, and whatever the time was."""
    plain = [tuple("a time" if isinstance(value, datetime) else value for value in row) for row in rows]
    return sorted(plain, key=repr)


def steps(seed: int) -> Iterator[Call]:
    """Give the calls of one run."""
    chance = random.Random(seed)
    for _ in range(STEPS):
        yield Call(chance.choice(NAMES), chance.randrange(8), chance.randrange(4), chance.randrange(4))


@pytest.mark.parametrize("seed", range(8))
async def test_both_databases_answer_alike(database: str, seed: int) -> None:
    things = Things()
    login = urlsplit(database).username or ""
    memory = MemoryDatabase(lambda: datetime.now(UTC)).pool(login)
    async with (
        asyncpg.create_pool(database, min_size=2, max_size=2) as postgres,
        postgres.acquire() as one,
        memory.acquire() as other,
    ):
        real, made = Side(postgres, one, things), Side(memory, other, things)
        for number, step in enumerate(steps(seed)):
            assert await made.take(step) == await real.take(step), f"answer to {number}: {step}"
            assert await made.see() == await real.see(), f"what others see after {number}: {step}"
        await real.end()
