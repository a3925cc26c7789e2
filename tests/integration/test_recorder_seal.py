"""Sealing and publishing: once, with facts that equal the entries, and always the same result."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest_asyncio
from asyncpg import Record
from support import sql
from support.attempts import COST, LATENCY_MS, USAGE, answered, claimed, ended, finished, held
from support.flow import Flow, at, chain_of, kinds_of, record_of, results, seal
from support.jobs import TENANT, job, replay, take_in
from support.servers import OpenHost

from schemas.codes import EntryKind, ErrorCode, Status
from schemas.result import Result
from services.policy import Policy
from services.recorder.stage import RecorderStage
from services.router.release import Releaser
from services.runtime import vault
from services.runtime.ids import now
from services.runtime.ledger import verify_chain
from services.runtime.wakeup import REPUBLISH

_SQL = sql.load("recorder")
_INTAKE = sql.load("intake")
OUTPUT = {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "Bonjour"}}]}


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


async def facts(flow: Flow, record_id: UUID) -> tuple[list[Record], list[Record]]:
    requests = await flow.host.pool.fetch(_SQL["request_facts"], record_id)
    return requests, await flow.host.pool.fetch(_SQL["attempt_facts"], record_id)


async def result_of(flow: Flow, record_id: UUID, count: int = 1) -> dict[str, Any]:
    values = [value for found, value in await results(flow.host, count) if found == record_id]
    Result.model_validate_json(values[-1])
    parsed: dict[str, Any] = orjson.loads(values[-1])
    return parsed


def events(flow: Flow, name: str) -> float:
    return float(flow.host.telemetry.events.labels(name)._value.get())


async def test_a_success_is_sealed_published_and_closed(flow: Flow) -> None:
    record_id, _ = await flow.decided(job(idempotency_key="k1", metadata={"order": [7, {"a": None}]}))
    assert await flow.host.pool.fetch(_SQL["in_flight"], record_id)
    await seal(flow.recorder, [await answered(flow.host, record_id, OUTPUT)])
    chain = await chain_of(flow.host, record_id)
    assert [e.kind for e in chain][2:] == ["decided", "attempt_started", "attempt_finished", "validated", "sealed"]
    assert verify_chain(chain) is None
    result = await result_of(flow, record_id)
    assert (result["status"], result["error"], result["output"]) == ("succeeded", None, OUTPUT)
    assert (result["idempotency_key"], result["metadata"]) == ("k1", {"order": [7, {"a": None}]})
    assert (result["usage"], result["cost_usd"], result["attempts"]) == ({**USAGE}, COST, 1)
    assert result["record_head"] == {"seq": 6, "hash": chain[-1].hash.hex()}
    assert not await flow.host.pool.fetch(_SQL["open_record"], record_id)
    assert not await flow.host.pool.fetch(_SQL["in_flight"], record_id)


async def test_the_same_outcome_again_publishes_the_same_bytes_and_adds_nothing(flow: Flow) -> None:
    record_id, _ = await flow.decided(job(idempotency_key="k1"))
    outcome = await answered(flow.host, record_id, OUTPUT)
    await seal(flow.recorder, [outcome])
    chain, rows = await chain_of(flow.host, record_id), await facts(flow, record_id)
    await seal(flow.recorder, [outcome, outcome])
    later = RecorderStage(flow.at("recorder"), lambda: now() + timedelta(hours=1))
    await seal(later, [outcome])
    await seal(later, await take_in(flow.classifier, job(idempotency_key="k1")))  # asks to publish again
    assert await chain_of(flow.host, record_id) == chain
    assert await facts(flow, record_id) == rows
    published = await results(flow.host, 4)
    assert len(published) == 4
    assert len(set(published)) == 1


async def test_recorders_at_the_same_time_seal_once_and_agree(flow: Flow, host: OpenHost) -> None:
    outcomes = []
    for number in range(30):
        record_id, _ = await flow.decided(job(f"number {number}"))
        outcomes.append(await answered(flow.host, record_id, OUTPUT))
    stages = [
        RecorderStage(await host("recorder"), lambda n=n: now() + timedelta(seconds=n))  # type: ignore[misc]
        for n in range(4)
    ]
    await asyncio.gather(*(seal(stage, outcomes[n:] + outcomes[:n]) for n, stage in enumerate(stages)))
    for outcome in outcomes:
        record_id = record_of(outcome)
        assert (await kinds_of(flow.host, record_id)).count(EntryKind.SEALED) == 1
        requests, attempts = await facts(flow, record_id)
        assert (len(requests), len(attempts)) == (1, 1)
    published = await results(flow.host, 120)
    assert len(published) == 120
    assert len(set(published)) == 30


async def test_facts_say_what_the_entries_say_in_every_column(flow: Flow, policy: Policy) -> None:
    document = job(
        "Summarise: the cat sat on the mat, and it was a good mat.",
        labels={"team": "search"},
        task="summarise",
        user_tier="gold",
        response_format={"type": "json_object"},
    )
    original = await flow.refused(job(colour="red"))
    record_id, _ = await flow.decided(document)
    worker = UUID(int=7)
    first = await claimed(flow.host, record_id, worker=worker)
    await finished(flow.host, first, None)
    second = await claimed(flow.host, record_id, worker=worker)
    hold = await held(flow.host, record_id, claim=second, due=timedelta(seconds=-1))
    assert await Releaser(flow.at("router"), policy, lambda: at(hold) + timedelta(seconds=90)).release_due() == 1
    third = await claimed(flow.host, record_id, worker=worker, fallback=True, may_double_pay=True)
    last = await finished(flow.host, third, OUTPUT)
    await seal(flow.recorder, [ended(flow.host, last, Status.SUCCEEDED)])

    chain = await chain_of(flow.host, record_id)
    kinds = [entry.kind for entry in chain]
    decisions = [entry for entry in chain if entry.kind == EntryKind.DECIDED]
    decision, features = decisions[-1].content()["data"]["decision"], chain[1].content()["data"]["features"]
    [row], attempts = await facts(flow, record_id)
    route = decision["route"]
    assert dict(row) == {
        "record_id": record_id,
        "received_at": at(chain[0]),
        "tenant": TENANT,
        "labels": '{"team": "search"}',
        "status": "succeeded",
        "error_code": None,
        "latency_class": "background",
        "operation": "chat",
        "task": "summarise",
        "data_class": features["data_class"],
        "risk_tier": features["risk_tier"],
        "user_tier": "gold",
        "language": features["language"],
        "alias": route["alias"],
        "provider": route["provider"],
        "model": route["model"],
        "model_version": route["version"],
        "region": route["region"],
        "tier": route["tier"],
        "policy_bundle": decision["policy"]["bundle"],
        **USAGE,
        "cost_usd": Decimal(COST),
        "cost_dearest_eligible_usd": Decimal(decision["estimate"]["dearest_usd"]),
        "cost_estimate_usd": Decimal(decision["estimate"]["cost_usd"]),
        "cost_cheapest_eligible_usd": Decimal(decision["estimate"]["cheapest_usd"]),
        "decided_at": at(decisions[-1]),
        "started_at": at(first),
        "finished_at": at(chain[kinds.index("validated") - 1]),
        "sealed_at": at(chain[-1]),
        "held_seconds": '{"in_doubt": 90.0}',
        "attempts": 3,
        "fallbacks": 1,
        "escalated": False,
        "schema_valid": True,
        "replay_of": None,
    }
    nothing = dict.fromkeys(USAGE, 0) | {"cost_usd": Decimal(0)}
    common = {
        "record_id": record_id,
        "received_at": at(chain[0]),
        "row_kind": "attempt",
        "tenant": TENANT,
        "latency_class": "background",
        "provider": route["provider"],
        "model": route["model"],
        "region": route["region"],
        "tier": route["tier"],
        "worker": worker,
    }
    answer = {"http_status": 503, "latency_ms": LATENCY_MS, "provider_request_id": f"req-{first.seq}"}
    answer |= {"response_model": "sim-ok", "finish_reason": "stop"}
    unanswered = dict.fromkeys((*answer, "finished_at", "failure_class"))
    plain = {"fallback": False, "may_double_pay": False}
    failed = {"outcome": "failed", "failure_class": "overloaded", "finished_at": at(chain[first.seq + 1])}
    ok = {"outcome": "ok", "failure_class": None, "finished_at": at(chain[third.seq + 1]), "latency_ms": LATENCY_MS}
    ok |= {"http_status": 200, "provider_request_id": f"req-{third.seq}"}
    ok |= {"response_model": "sim-ok", "finish_reason": "stop"}
    assert [dict(attempt) for attempt in attempts] == [
        common | plain | nothing | answer | failed | {"seq": first.seq, "attempt": 1, "started_at": at(first)},
        common
        | plain
        | nothing
        | unanswered
        | {"outcome": "unknown", "seq": second.seq, "attempt": 2, "started_at": at(second)},
        common
        | {"fallback": True, "may_double_pay": True, **USAGE, "cost_usd": Decimal(COST)}
        | ok
        | {"seq": third.seq, "attempt": 3, "started_at": at(third)},
    ]
    [cost] = await flow.host.pool.fetch(_SQL["cost_by_model"], TENANT)
    assert (cost["calls"], cost["cost_usd"]) == (3, Decimal(COST))
    assert original != record_id


async def test_a_rejection_has_facts_and_a_result_without_what_it_never_had(flow: Flow) -> None:
    record_id = await flow.refused(job(colour="red", latency_class="interactive", idempotency_key="k1"))
    [row], attempts = await facts(flow, record_id)
    assert (row["status"], row["error_code"], row["latency_class"]) == ("rejected", "latency_class_refused", None)
    assert (row["attempts"], row["cost_usd"], row["provider"], attempts) == (0, 0, None, [])
    result = await result_of(flow, record_id)
    assert result["error"]["code"] == "latency_class_refused"
    assert (result["idempotency_key"], result["output"], result["route"]) == ("k1", None, None)


async def test_facts_of_a_replay_name_the_original(flow: Flow) -> None:
    original, chain = await flow.decided(job(idempotency_key="k1"))
    await seal(flow.recorder, [ended(flow.host, chain[-1], Status.FAILED, ErrorCode.PROVIDER_FAILED)])
    [message] = await take_in(flow.classifier, replay(original))
    again = record_of(message)
    await seal(flow.recorder, [ended(flow.host, (await chain_of(flow.host, again))[-1], Status.EXPIRED)])
    [row], _ = await facts(flow, again)
    assert (row["replay_of"], row["status"]) == (original, "expired")


async def test_a_stale_outcome_is_dropped_and_does_not_hide_the_right_one(flow: Flow) -> None:
    record_id, chain = await flow.decided(job())
    stale = ended(flow.host, chain[1], Status.CANCELLED, ErrorCode.CANCELLED)
    await seal(flow.recorder, [stale])
    assert (await kinds_of(flow.host, record_id))[-1] == "decided"
    assert events(flow, "stale_outcome") == 1
    right = await answered(flow.host, record_id, OUTPUT)
    await seal(flow.recorder, [stale, right])
    assert (await kinds_of(flow.host, record_id))[-1] == "sealed"
    assert (await result_of(flow, record_id))["status"] == "succeeded"


async def test_a_stale_outcome_after_the_seal_publishes_what_was_sealed(flow: Flow) -> None:
    record_id, chain = await flow.decided(job())
    await seal(flow.recorder, [await answered(flow.host, record_id, OUTPUT)])
    await seal(flow.recorder, [ended(flow.host, chain[1], Status.CANCELLED, ErrorCode.CANCELLED)])
    published = await results(flow.host, 2)
    assert len(set(published)) == 1
    assert (await result_of(flow, record_id))["status"] == "succeeded"


async def test_a_request_to_publish_again_never_seals_and_yields_to_an_outcome(flow: Flow) -> None:
    record_id, chain = await flow.decided(job())
    last = chain[-1]
    again = flow.host.wakeups.outcome(record_id, TENANT, last.seq, last.hash.hex(), REPUBLISH)
    await seal(flow.recorder, [again])
    assert (await kinds_of(flow.host, record_id))[-1] == "decided"
    await seal(flow.recorder, [again, ended(flow.host, last, Status.EXPIRED, ErrorCode.DEADLINE_PASSED), again])
    assert (await kinds_of(flow.host, record_id))[-1] == "sealed"


async def test_an_outcome_of_a_record_that_never_was_is_dropped(flow: Flow) -> None:
    record_id, chain = await flow.decided(job())
    lost = ended(flow.host, chain[-1]._replace(record_id=UUID(int=5)), Status.EXPIRED)
    await seal(flow.recorder, [lost])
    assert await results(flow.host, 0) == []
    assert (await kinds_of(flow.host, record_id))[-1] == "decided"


async def test_a_result_after_erasure_has_no_content_and_keeps_everything_else(flow: Flow) -> None:
    record_id, _ = await flow.decided(job(idempotency_key="k1", metadata={"order": 7}))
    outcome = await answered(flow.host, record_id, OUTPUT)
    await seal(flow.recorder, [outcome])
    before = await result_of(flow, record_id)
    assert await flow.host.keyring.delete([record_id]) == 1
    await seal(flow.recorder, [outcome])
    [_, (_, value)] = await results(flow.host, 2)
    assert orjson.loads(value) == {**before, "output": None, "idempotency_key": None, "metadata": {}}
    assert events(flow, "content_damaged") == 0, "erased is not damaged"


async def test_damaged_content_is_left_out_and_is_an_alarm(flow: Flow) -> None:
    record_id, _ = await flow.decided(job(idempotency_key="k1"))
    outcome = await answered(flow.host, record_id, OUTPUT)
    await flow.host.pool.execute(_INTAKE["damage"], record_id, vault.OUTPUT)
    await seal(flow.recorder, [outcome])
    result = await result_of(flow, record_id)
    assert (result["status"], result["output"], result["idempotency_key"]) == ("succeeded", None, "k1")
    assert events(flow, "content_damaged") == 1
    await flow.host.pool.execute(_INTAKE["damage"], record_id, vault.JOB)
    await seal(flow.recorder, [outcome])
    assert events(flow, "content_damaged") == 3


async def test_content_that_is_not_what_its_digest_says_is_left_out(flow: Flow) -> None:
    """It decrypts, so somebody with the key wrote it; the record says that it is not what was answered."""
    record_id, _ = await flow.decided(job())
    claim = await claimed(flow.host, record_id)
    last = await finished(flow.host, claim, OUTPUT, output_digest="00" * 32)
    await seal(flow.recorder, [ended(flow.host, last, Status.SUCCEEDED)])
    assert (await result_of(flow, record_id))["output"] is None
    assert events(flow, "content_damaged") == 1


async def test_the_last_answer_counts_and_a_failed_last_attempt_has_none(flow: Flow) -> None:
    record_id, _ = await flow.decided(job())
    await finished(flow.host, await claimed(flow.host, record_id), None)
    last = await finished(flow.host, await claimed(flow.host, record_id), None)
    await seal(flow.recorder, [ended(flow.host, last, Status.FAILED, ErrorCode.PROVIDER_FAILED)])
    result = await result_of(flow, record_id)
    assert (result["attempts"], result["output"], result["cost_usd"]) == (2, None, "0")
    assert result["error"] == {
        "code": "provider_failed",
        "field": None,
        "message": "No attempt brought an answer.",
        "record_id": None,
        "retriable": True,
    }
