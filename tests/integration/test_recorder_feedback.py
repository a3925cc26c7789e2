"""Feedback becomes an entry and a fact of its tenant's own record, once, after the seal; nobody else's is touched."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from support import attempts, sql
from support.attempts import answered
from support.flow import Flow, chain_of, kinds_of, seal
from support.jobs import TENANT, cancel, job, published, take_in
from support.servers import OpenHost

from schemas.codes import ErrorCode, Status
from schemas.dead_letter import HEADER_PREFIX
from services.policy import Policy
from services.recorder.feedback import MAX_PER_RECORD, NO_RECORD, FeedbackStage
from services.recorder.late import LateEntries
from services.runtime.host import Host
from services.runtime.ids import now
from services.runtime.kafka import Outgoing
from services.runtime.ledger import verify_chain

_RECORDER = sql.load("recorder")
_FACTS = sql.load("facts")
OUTPUT = {"choices": [{"message": {"role": "assistant", "content": "bonjour"}}]}


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


def feedback(
    record: object = None, verdict: str = "accepted", *, tenant: str = TENANT, **fields: Any
) -> dict[str, Any]:
    named = {} if record is None else {"record_id": str(record)}
    return {"schema_version": 1, "tenant": tenant, "verdict": verdict, **named, **fields}


async def give(host: Host, *documents: dict[str, Any]) -> list[Outgoing]:
    """Carry feedback to the recorder as one slice."""
    stage = FeedbackStage(host)
    return list(await stage.run([stage.read(published(document, topic="feedback")) for document in documents]))


async def drained(flow: Flow) -> int:
    return await LateEntries(flow.at("recorder"), now).drain()


async def given(flow: Flow, record_id: UUID) -> list[tuple[Any, ...]]:
    """Return the verdicts of a record as facts, and hold them to its chain."""
    rows = [row for row in await flow.host.pool.fetch(_FACTS["feedback"]) if row["record_id"] == record_id]
    chain = await chain_of(flow.host, record_id)
    assert verify_chain(chain) is None
    told = {entry.seq: entry.content()["data"] for entry in chain if entry.kind == "feedback"}
    assert {row["seq"]: (row["verdict"], row["edit_ratio"], row["reason_code"]) for row in rows} == {
        seq: (data["verdict"], data["edit_ratio"], data["reason_code"]) for seq, data in told.items()
    }
    assert {row["tenant"] for row in rows} <= {chain[0].content()["data"]["tenant"]}
    return [(row["verdict"], row["edit_ratio"], row["reason_code"]) for row in rows]


async def ended(flow: Flow, key: str = "k1") -> UUID:
    record_id, _ = await flow.decided(job(idempotency_key=key))
    await seal(flow.recorder, [await answered(flow.host, record_id, OUTPUT)])
    return record_id


def told(messages: list[Outgoing]) -> list[tuple[str, str]]:
    """Return code and reason of dead letters."""
    headers = [dict(message.headers) for message in messages]
    return [(one[HEADER_PREFIX + "code"].decode(), one[HEADER_PREFIX + "reason"].decode()) for one in headers]


async def test_a_verdict_becomes_an_entry_and_a_fact(flow: Flow) -> None:
    record_id = await ended(flow)
    recorder = flow.at("recorder")
    assert await give(recorder, feedback(record_id, "edited", edit_ratio=0.25, reason_code="tone")) == []
    assert await drained(flow) == 1
    assert (await kinds_of(flow.host, record_id))[-2:] == ["sealed", "feedback"]
    assert await given(flow, record_id) == [("edited", 0.25, "tone")]
    assert await flow.host.pool.fetchval(_RECORDER["aside"]) == 0


async def test_before_the_seal_it_waits_aside(flow: Flow) -> None:
    record_id, _ = await flow.decided(job(idempotency_key="k1"))
    await give(flow.at("recorder"), feedback(idempotency_key="k1", verdict="re_asked"))
    assert await drained(flow) == 0
    await seal(flow.recorder, [await answered(flow.host, record_id, OUTPUT)])
    assert await drained(flow) == 1
    assert await given(flow, record_id) == [("re_asked", None, None)]


async def test_the_same_again_adds_nothing_and_another_verdict_adds_a_row(flow: Flow) -> None:
    record_id = await ended(flow)
    recorder = flow.at("recorder")
    by_key = feedback(idempotency_key="k1")
    await give(recorder, by_key, feedback(record_id), by_key)
    await give(recorder, by_key)  # still aside
    assert await drained(flow) == 1
    await give(recorder, feedback(record_id), by_key)  # an entry by now
    await give(recorder, feedback(record_id, "rejected"), feedback(record_id, "rejected", reason_code="wrong"))
    assert await drained(flow) == 2
    assert await given(flow, record_id) == [
        ("accepted", None, None),
        ("rejected", None, None),
        ("rejected", None, "wrong"),
    ]


async def test_another_tenants_record_and_none_are_told_alike(flow: Flow) -> None:
    record_id = await ended(flow)
    await take_in(flow.classifier, cancel("only-a-cancel"))
    strangers = [
        feedback(record_id, tenant="bolt"),
        feedback(uuid4(), tenant="bolt"),
        feedback(idempotency_key="k1", tenant="bolt"),
        feedback(idempotency_key="no-such-key"),
        feedback(idempotency_key="only-a-cancel"),
    ]
    letters = await give(flow.at("recorder"), *strangers)
    assert told(letters) == [(ErrorCode.INVALID_MESSAGE, NO_RECORD)] * len(strangers)
    assert {message.topic for message in letters} == {flow.host.settings.topic("dead-letter")}
    assert await flow.host.pool.fetchval(_RECORDER["aside"]) == 0
    assert "feedback" not in await kinds_of(flow.host, record_id)


async def test_of_a_flood_so_many_are_kept(flow: Flow, host: OpenHost) -> None:
    record_id = await ended(flow)
    other = await ended(flow, "k2")
    flood = [feedback(record_id, "edited", edit_ratio=n / 1000) for n in range(100)]
    recorders = [await host("recorder") for _ in range(3)]
    half = flood[:50]
    await asyncio.gather(*(give(recorder, *half[n::3]) for n, recorder in enumerate(recorders)))
    while await drained(flow):
        pass
    assert await give(recorders[0], *flood, feedback(other)) == []
    while await drained(flow):
        pass
    assert len(await given(flow, record_id)) == MAX_PER_RECORD
    assert await given(flow, other) == [("accepted", None, None)], "one record's flood is no other's"
    dropped = sum(recorder.telemetry.events.labels("feedback_dropped")._value.get() for recorder in recorders)
    assert dropped == 50 - MAX_PER_RECORD + len(flood) - MAX_PER_RECORD


@pytest.mark.parametrize("late_first", [True, False])
async def test_it_stands_beside_late_answers(flow: Flow, late_first: bool) -> None:
    record_id, _ = await flow.decided(job(idempotency_key="k1"))
    claim = await attempts.claimed(flow.host, record_id)
    await seal(flow.recorder, [attempts.ended(flow.host, claim, Status.FAILED, ErrorCode.PROVIDER_FAILED)])

    async def verdict() -> None:
        await give(flow.at("recorder"), feedback(record_id, "rejected" if late_first else "accepted"))

    for put in (
        (lambda: attempts.put_aside(flow.host, claim), verdict)
        if late_first
        else (verdict, lambda: attempts.put_aside(flow.host, claim))
    ):
        await put()
        assert await drained(flow) == 1
    await give(flow.at("recorder"), feedback(record_id, "escalated"))
    assert await drained(flow) == 1
    assert len(await given(flow, record_id)) == 2
    assert sorted((await kinds_of(flow.host, record_id))[-3:]) == ["feedback", "feedback", "late_result"]
