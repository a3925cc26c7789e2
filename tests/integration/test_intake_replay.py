"""Replays: an ended record's job runs again under a new record, once, for its own tenant only."""

from __future__ import annotations

from uuid import UUID

import orjson
import pytest
import pytest_asyncio
from support import sql
from support.flow import Flow, chain_of, content, decide, going_to, record_of, results, seal
from support.jobs import TENANT, cancel, job, replay, take_in
from support.servers import OpenHost

from schemas.topics import CLASSIFIED, OUTCOMES
from services.policy import Policy
from services.runtime import vault
from services.runtime.ids import new_record_id

_SQL = sql.load("intake")


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


async def ended(flow: Flow, key: str) -> UUID:
    """Return a record that was decided, and then sealed as cancelled."""
    messages = await take_in(flow.classifier, job(idempotency_key=key, metadata={"order": 7}))
    await take_in(flow.classifier, cancel(key))
    await seal(flow.recorder, await decide(flow.router, messages))
    return record_of(messages[0])


async def key_owner(flow: Flow, key: str) -> UUID:
    await flow.host.tenant_keys.ensure([TENANT])
    row = await flow.host.pool.fetchrow(_SQL["key_owner"], TENANT, flow.host.tenant_keys.key_hmac(TENANT, key))
    assert row is not None
    found: UUID = row["record_id"]
    return found


async def test_a_sealed_record_is_replayed_once_and_its_key_answers_from_the_replay(flow: Flow) -> None:
    original = await ended(flow, "k1")
    first = await take_in(flow.classifier, replay(original))
    [message] = going_to(flow.host, CLASSIFIED, first)
    again = record_of(message)
    assert again != original
    received = (await chain_of(flow.host, again))[0].content()["data"]
    assert received["replay_of"] == str(original)
    assert await key_owner(flow, "k1") == again

    assert await take_in(flow.classifier, replay(original)) == first, "a second request adds nothing"
    assert await take_in(flow.classifier, replay(original), replay(original)) == first
    # The key's own redelivery meets the replay, which has not ended yet.
    [met] = await take_in(flow.classifier, job(idempotency_key="k1", metadata={"order": 7}))
    assert record_of(met) == again


async def test_a_replay_is_replayed_by_naming_it_and_the_key_follows(flow: Flow) -> None:
    original = await ended(flow, "k1")
    [message] = await take_in(flow.classifier, replay(original))
    second = record_of(message)
    await take_in(flow.classifier, cancel("k1"))
    await seal(flow.recorder, await decide(flow.router, [message]))
    [message] = await take_in(flow.classifier, replay(second))
    third = record_of(message)
    assert await key_owner(flow, "k1") == third
    assert (await chain_of(flow.host, third))[0].content()["data"]["replay_of"] == str(second)


async def test_the_result_of_a_replay_carries_the_original_key_and_metadata(flow: Flow) -> None:
    original = await ended(flow, "k1")
    [message] = await take_in(flow.classifier, replay(original))
    await take_in(flow.classifier, cancel("k1"))
    await seal(flow.recorder, await decide(flow.router, [message]))
    result = orjson.loads(dict(await results(flow.host, 2))[record_of(message)])
    assert (result["idempotency_key"], result["metadata"], result["replay_of"]) == ("k1", {"order": 7}, str(original))


async def test_a_cancel_of_the_original_does_not_cancel_its_replay(flow: Flow) -> None:
    """On-call replays what was cancelled by mistake; the old cancel must not hit the new record."""
    original = await ended(flow, "k1")
    [message] = await take_in(flow.classifier, replay(original))
    [decided] = await decide(flow.router, [message])
    assert "orders" in content(decided), "decided, not ended"


async def test_a_cancel_of_the_replay_cancels_it_in_the_same_slice_and_later(flow: Flow) -> None:
    for key, together in (("k1", True), ("k2", False)):
        original = await ended(flow, key)
        documents = [replay(original), cancel(key)]
        if together:
            [message] = await take_in(flow.classifier, *documents)
        else:
            [message] = [m for document in documents for m in await take_in(flow.classifier, document)]
        [outcome] = await decide(flow.router, [message])
        assert content(outcome)["status"] == "cancelled"


@pytest.mark.parametrize("reason", ["unsealed", "unknown", "another tenant's", "erased", "damaged", "was rejected"])
async def test_a_replay_that_cannot_be_is_a_recorded_rejection(flow: Flow, reason: str) -> None:
    wanted = replay(new_record_id())
    if reason == "unsealed":
        [message] = await take_in(flow.classifier, job(idempotency_key="k1"))
        wanted = replay(record_of(message))
    elif reason == "was rejected":
        wanted = replay(await flow.refused(job(colour="red")))
    elif reason != "unknown":
        original = await ended(flow, "k1")
        wanted = replay(original, "globex" if reason == "another tenant's" else TENANT)
        if reason == "erased":
            assert await flow.host.keyring.delete([original]) == 1
        if reason == "damaged":
            await flow.host.pool.execute(_SQL["damage"], original, vault.JOB)
    [outcome] = await take_in(flow.classifier, wanted)
    assert outcome.topic == flow.host.settings.topic(OUTCOMES.name)
    assert content(outcome)["tenant"] == wanted["tenant"]
    assert content(outcome)["error"] == {"code": "invalid_message", "field": "record_id"}
    assert str(record_of(outcome)) != wanted["record_id"]


async def test_another_tenant_cannot_ride_on_the_owners_replay_in_one_slice(flow: Flow) -> None:
    for documents in ((TENANT, "globex"), ("globex", TENANT)):
        original = await ended(flow, f"k-{documents[0]}")
        messages = await take_in(flow.classifier, *(replay(original, tenant) for tenant in documents))
        [run] = going_to(flow.host, CLASSIFIED, messages)
        [refusal] = going_to(flow.host, OUTCOMES, messages)
        assert content(run)["tenant"] == TENANT
        assert (content(refusal)["tenant"], content(refusal)["status"]) == ("globex", "rejected")
