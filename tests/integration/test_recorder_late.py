"""What was put aside is appended after the seal, once, with its cost in the facts."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from uuid import UUID

import pytest_asyncio
from support import sql
from support.attempts import COST, LATENCY_MS, USAGE, claimed, ended, put_aside
from support.flow import Flow, chain_of, kinds_of, results, seal
from support.jobs import TENANT, job, take_in
from support.servers import OpenHost

from schemas.codes import EntryKind, ErrorCode, Status
from services.policy import Policy
from services.recorder.late import LateEntries
from services.runtime.ids import now
from services.runtime.ledger import verify_chain

_SQL = sql.load("recorder")


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


async def sealed_in_doubt(flow: Flow, key: str, claims: int = 1) -> list[UUID]:
    """Seal a record whose claims have no answer, which then comes; return record and the ids of its late entries."""
    record_id, _ = await flow.decided(job(idempotency_key=key))
    made = [await claimed(flow.host, record_id) for _ in range(claims)]
    late = [await put_aside(flow.host, claim) for claim in made]
    await seal(flow.recorder, [ended(flow.host, made[-1], Status.FAILED, ErrorCode.PROVIDER_FAILED)])
    return [record_id, *late]


async def late_facts(flow: Flow, record_id: UUID) -> list[dict[str, object]]:
    rows = await flow.host.pool.fetch(_SQL["attempt_facts"], record_id)
    return [dict(row) for row in rows if row["row_kind"] == "late"]


async def test_a_late_answer_becomes_an_entry_and_a_fact(flow: Flow) -> None:
    record_id, late = await sealed_in_doubt(flow, "k1")
    assert await LateEntries(flow.at("recorder"), now).drain() == 1
    chain = await chain_of(flow.host, record_id)
    assert [entry.kind for entry in chain][-3:] == ["attempt_started", "sealed", "late_result"]
    assert chain[-1].entry_id == late
    assert verify_chain(chain) is None
    [row] = await late_facts(flow, record_id)
    claim = chain[3].content()["data"]
    assert {name: row[name] for name in USAGE} == {**USAGE}
    expected = {"seq": 5, "attempt": 1, "tenant": TENANT, "outcome": "ok", "cost_usd": Decimal(COST)}
    expected |= {"worker": UUID(claim["worker"]), "provider": claim["route"]["provider"], "latency_ms": LATENCY_MS}
    assert {name: row[name] for name in expected} == expected
    [cost] = await flow.host.pool.fetch(_SQL["cost_by_model"], TENANT)
    assert (cost["calls"], cost["cost_usd"]) == (1, Decimal(COST)), "a late answer is money, and no further call"
    assert await flow.host.pool.fetchval(_SQL["aside"]) == 0
    assert await LateEntries(flow.at("recorder"), now).drain() == 0


async def test_nothing_is_appended_before_the_seal(flow: Flow) -> None:
    record_id, _ = await flow.decided(job())
    claim = await claimed(flow.host, record_id)
    await put_aside(flow.host, claim)
    assert await LateEntries(flow.at("recorder"), now).drain() == 0
    assert (await kinds_of(flow.host, record_id))[-1] == "attempt_started"
    assert await flow.host.pool.fetchval(_SQL["aside"]) == 1


async def test_an_answer_put_aside_again_after_it_was_drained_adds_nothing(flow: Flow) -> None:
    record_id, late = await sealed_in_doubt(flow, "k1")
    drain = LateEntries(flow.at("recorder"), now).drain
    await drain()
    claim = (await chain_of(flow.host, record_id))[3]
    assert await put_aside(flow.host, claim) == late
    await drain()
    assert (await kinds_of(flow.host, record_id)).count("late_result") == 1
    assert len(await late_facts(flow, record_id)) == 1
    assert await flow.host.pool.fetchval(_SQL["aside"]) == 0


async def test_drains_at_the_same_time_append_each_once(flow: Flow, host: OpenHost) -> None:
    records = [(await sealed_in_doubt(flow, f"k{n}", claims=3))[0] for n in range(10)]
    drains = [LateEntries(await host("recorder"), now) for _ in range(4)]

    async def until_empty(late: LateEntries) -> int:
        total = 0
        while await flow.host.pool.fetchval(_SQL["aside"]):
            total += await late.drain()
        return total

    # A record's rows can be shared out among drains; the one that finds the head taken leaves its row for the next.
    assert sum(await asyncio.gather(*(until_empty(late) for late in drains))) == 30
    for record_id in records:
        chain = await chain_of(flow.host, record_id)
        assert [e.kind for e in chain[-4:]] == [EntryKind.SEALED, *[EntryKind.LATE_RESULT] * 3]
        assert len({entry.entry_id for entry in chain}) == len(chain)
        assert verify_chain(chain) is None
        assert sorted(row["attempt"] for row in await late_facts(flow, record_id)) == [1, 2, 3]  # type: ignore[type-var]


async def test_a_row_that_cannot_be_appended_does_not_keep_the_others_waiting(flow: Flow) -> None:
    broken, _ = await sealed_in_doubt(flow, "k1")
    record_id, _ = await flow.decided(job(idempotency_key="k2"))
    claim = await claimed(flow.host, record_id)
    await put_aside(flow.host, claim._replace(entry_id=UUID(int=9)))  # a claim that the chain does not hold
    await seal(flow.recorder, [ended(flow.host, claim, Status.FAILED, ErrorCode.PROVIDER_FAILED)])
    good, _ = await sealed_in_doubt(flow, "k3")
    late = LateEntries(flow.at("recorder"), now)
    assert [await late.drain(), await late.drain()] == [2, 0]
    assert [(await kinds_of(flow.host, r))[-1] for r in (broken, record_id, good)] == [
        "late_result",
        "sealed",
        "late_result",
    ]
    assert flow.host.telemetry.events.labels("late_refused")._value.get() == 1


async def test_the_result_is_the_same_after_late_entries(flow: Flow) -> None:
    record_id, _ = await sealed_in_doubt(flow, "k1")
    await LateEntries(flow.at("recorder"), now).drain()
    await seal(flow.recorder, await take_in(flow.classifier, job(idempotency_key="k1")))
    published = await results(flow.host, 2)
    assert [found for found, _ in published] == [record_id] * 2
    assert len(set(published)) == 1
