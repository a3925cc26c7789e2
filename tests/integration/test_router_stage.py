"""The router's stage against a real database: one decision a record, whatever comes twice or too late."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import pytest_asyncio
from support.attempts import answered, claimed
from support.flow import Flow, chain_of, content, decide, going_to, kinds_of, record_of, seal
from support.jobs import cancel, job, published, take_in
from support.servers import OpenHost

from schemas.codes import EntryKind
from schemas.topics import OUTCOMES, ROUTED_BACKGROUND, ROUTED_BATCH
from services.policy import Policy
from services.router.stage import RouterStage
from services.runtime.ids import now
from services.runtime.microbatch import UnreadableError


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


async def test_decides_and_sends_each_latency_class_its_way(flow: Flow) -> None:
    messages = await take_in(flow.classifier, job(), job(latency_class="batch"))
    decided = await decide(flow.router, messages)
    [background] = going_to(flow.host, ROUTED_BACKGROUND, decided)
    [batch] = going_to(flow.host, ROUTED_BATCH, decided)
    assert {record_of(background), record_of(batch)} == {record_of(m) for m in messages}
    for message in decided:
        chain = await chain_of(flow.host, record_of(message))
        assert [entry.kind for entry in chain] == ["received", "classified", "decided"]
        assert content(message)["head"] == {"seq": 2, "hash": chain[2].hash.hex()}
        decision = chain[2].content()["data"]["decision"]
        assert content(message)["orders"]["route"] == decision["route"]
        assert content(message)["resume"] is False


async def test_a_redelivery_brings_the_stored_decision_whatever_would_be_decided_now(flow: Flow) -> None:
    messages = await take_in(flow.classifier, job(), job())
    first = await decide(flow.router, messages)
    later = RouterStage(flow.at("router"), flow.policy, lambda: now() + timedelta(minutes=5))
    assert await decide(later, messages) == first
    assert await decide(later, messages + messages) == first, "also when a slice holds a message twice"
    assert [await kinds_of(flow.host, record_of(m)) for m in messages] == [["received", "classified", "decided"]] * 2


async def test_a_redelivery_after_the_record_went_on_still_sends_only_its_own_step(flow: Flow) -> None:
    messages = await take_in(flow.classifier, job())
    first = await decide(flow.router, messages)
    await claimed(flow.host, record_of(messages[0]))
    assert await decide(flow.router, messages) == first, "the executor drops it: its head is stale"


async def test_two_routers_at_the_same_time_send_the_same_decision(flow: Flow, host: OpenHost) -> None:
    other = RouterStage(await host("router"), flow.policy, lambda: now() + timedelta(seconds=1))
    messages = await take_in(flow.classifier, *(job(f"number {n}") for n in range(60)))
    one, two = await asyncio.gather(decide(flow.router, messages), decide(other, messages[::-1]))
    assert sorted(one) == sorted(two)
    assert {len(await chain_of(flow.host, record_of(message))) for message in messages} == {3}


async def test_what_is_cancelled_or_late_goes_to_the_recorder(flow: Flow) -> None:
    messages = await take_in(flow.classifier, job(idempotency_key="k1"), job(idempotency_key="k2"))
    await take_in(flow.classifier, cancel("k1"))
    late = RouterStage(flow.at("router"), flow.policy, lambda: now() + timedelta(hours=49))
    outcomes = await decide(late, messages)
    assert going_to(flow.host, OUTCOMES, outcomes) == outcomes
    assert sorted(content(outcome)["status"] for outcome in outcomes) == ["cancelled", "expired"]
    assert {record_of(o) for o in outcomes} == {record_of(m) for m in messages}
    await seal(flow.recorder, outcomes)
    for outcome in outcomes:
        assert await kinds_of(flow.host, record_of(outcome)) == ["received", "classified", "sealed"]


async def test_no_route_is_recorded_with_its_reasons_and_ends_the_record(flow: Flow) -> None:
    messages = await take_in(flow.classifier, job(constraints={"providers": ["nobody"]}))
    outcomes = await decide(flow.router, messages)
    assert [(content(o)["status"], content(o)["error"]["code"]) for o in outcomes] == [("rejected", "no_route")]
    chain = await chain_of(flow.host, record_of(messages[0]))
    decision = chain[2].content()["data"]["decision"]
    assert (chain[2].kind, decision["route"]) == (EntryKind.DECIDED, None)
    assert decision["ruled_out"], "it says what was ruled out and why"
    assert await decide(flow.router, messages) == outcomes
    await seal(flow.recorder, outcomes)
    assert (await kinds_of(flow.host, record_of(messages[0])))[-1] == "sealed"


async def test_a_message_for_a_sealed_record_wakes_nobody_who_would_change_it(flow: Flow) -> None:
    messages = await take_in(flow.classifier, job())
    await decide(flow.router, messages)
    record_id = record_of(messages[0])
    await seal(flow.recorder, [await answered(flow.host, record_id, {"choices": []})])
    before = await chain_of(flow.host, record_id)
    await decide(flow.router, messages)
    assert await chain_of(flow.host, record_id) == before


async def test_a_message_with_a_wrong_head_is_dropped(flow: Flow) -> None:
    [message] = await take_in(flow.classifier, job())
    wrong = message._replace(value=(message.value or b"").replace(content(message)["head"]["hash"].encode(), b"0" * 64))
    assert await decide(flow.router, [wrong]) == []
    assert await kinds_of(flow.host, record_of(message)) == ["received", "classified"]


@pytest.mark.parametrize("value", [b"", b"{}", b"not json", b'{"schema_version": 2}'])
async def test_what_is_no_message_is_unreadable(flow: Flow, value: bytes) -> None:
    with pytest.raises(UnreadableError):
        flow.router.read(published(value))
