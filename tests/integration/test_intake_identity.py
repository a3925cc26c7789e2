"""Intake: which record answers for a message, whatever comes twice, out of order or at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest_asyncio
from support import sql
from support.flow import Flow, content, decide, going_to, kinds_of, record_of, results, seal
from support.jobs import PUBLISHED, TENANT, cancel, job, published, take_in
from support.servers import OpenHost

from schemas.result import Notice
from schemas.topics import CLASSIFIED, OUTCOMES, RESULTS
from services.classifier.stage import ClassifierStage
from services.policy import Policy
from services.recorder.upkeep import Upkeep
from services.runtime.host import Host
from services.runtime.ids import new_record_id, now
from services.runtime.slices import MAX_RECORDS

_SQL = sql.load("intake")


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> AsyncIterator[Flow]:
    yield await Flow.open(host, policy)


async def counts(host: Host) -> dict[str, int]:
    row = await host.pool.fetchrow(_SQL["counts"])
    assert row is not None
    return dict(row)


async def owner(host: Host, key: str, tenant: str = TENANT) -> UUID:
    await host.tenant_keys.ensure([tenant])
    row = await host.pool.fetchrow(_SQL["key_owner"], tenant, host.tenant_keys.key_hmac(tenant, key))
    assert row is not None
    found: UUID = row["record_id"]
    return found


def one_record(count: int) -> dict[str, int]:
    return {
        "records": count,
        "entries": 2 * count,
        "keys": count,
        "open_records": count,
        "contents": count,
        "record_keys": count,
    }


async def test_a_new_job_becomes_a_record_and_wakes_the_router(flow: Flow) -> None:
    [message] = await take_in(flow.classifier, job(idempotency_key="k1"))
    assert message.topic == flow.host.settings.topic(CLASSIFIED.name)
    record_id = record_of(message)
    assert message.key == str(record_id).encode()
    assert await kinds_of(flow.host, record_id) == ["received", "classified"]
    assert content(message)["head"]["seq"] == 1
    assert await owner(flow.host, "k1") == record_id
    assert await counts(flow.host) == one_record(1)


async def test_a_job_that_asks_for_it_is_told_that_it_was_accepted(flow: Flow) -> None:
    message, notice = await take_in(flow.classifier, job(idempotency_key="k1", notify="all"))
    told = Notice.model_validate_json(notice.value or b"")
    assert notice.topic == flow.host.settings.topic(RESULTS.name)
    assert (told.event, told.record_id) == ("accepted", record_of(message))
    [outcome] = await take_in(flow.classifier, job(idempotency_key="k2", notify="all", latency_class="interactive"))
    assert content(outcome)["status"] == "rejected"


async def test_the_same_job_again_wakes_the_router_again_with_the_same_bytes(flow: Flow) -> None:
    first = await take_in(flow.classifier, job(idempotency_key="k1"))
    spaced = b"  " + published(job(idempotency_key="k1")).value.replace(b":", b" : ", 3) + b"\n"
    assert await take_in(flow.classifier, job(idempotency_key="k1")) == first
    assert await take_in(flow.classifier, spaced) == first, "white space is no other payload"
    assert await counts(flow.host) == one_record(1)


async def test_a_job_that_has_gone_on_is_woken_from_its_beginning(flow: Flow) -> None:
    first = await take_in(flow.classifier, job(idempotency_key="k1"))
    await decide(flow.router, first)
    assert await take_in(flow.classifier, job(idempotency_key="k1")) == first


async def test_a_sealed_job_is_asked_to_be_published_again(flow: Flow) -> None:
    record_id = await flow.refused(job(idempotency_key="k1", colour="red"))
    [message] = await take_in(flow.classifier, job(idempotency_key="k1", colour="red"))
    assert message.topic == flow.host.settings.topic(OUTCOMES.name)
    assert (record_of(message), content(message)["status"]) == (record_id, "republish")


async def test_a_job_published_again_after_its_deadline_is_still_the_same_job(flow: Flow) -> None:
    document = job(idempotency_key="k1", deadline=(PUBLISHED + timedelta(minutes=1)).isoformat())
    first = await take_in(flow.classifier, document)
    assert await take_in(flow.classifier, published(document, at=PUBLISHED + timedelta(hours=1))) == first
    assert await counts(flow.host) == one_record(1)


async def test_a_job_that_comes_after_its_deadline_is_rejected_once(flow: Flow) -> None:
    document = job(idempotency_key="k1", deadline=PUBLISHED.isoformat())
    [rejected] = await take_in(flow.classifier, document)
    assert content(rejected)["status"] == "rejected"
    assert content(rejected)["error"] == {"code": "deadline_passed", "field": "deadline"}
    assert await take_in(flow.classifier, published(document, at=PUBLISHED + timedelta(hours=1))) == [rejected]
    assert await owner(flow.host, "k1") == record_of(rejected)


async def test_the_same_key_with_another_payload_is_a_conflict_that_names_the_other(flow: Flow) -> None:
    [first] = await take_in(flow.classifier, job(idempotency_key="k1"))
    [conflict] = await take_in(flow.classifier, job("another", idempotency_key="k1"))
    assert conflict.topic == flow.host.settings.topic(OUTCOMES.name)
    assert content(conflict)["error"] == {"code": "idempotency_conflict", "field": "idempotency_key"}
    assert record_of(conflict) != record_of(first)

    assert await take_in(flow.classifier, job("another", idempotency_key="k1")) == [conflict], "redelivered"
    [third] = await take_in(flow.classifier, job("a third", idempotency_key="k1"))
    assert record_of(third) not in (record_of(first), record_of(conflict))
    assert await owner(flow.host, "k1") == record_of(first)
    await seal(flow.recorder, [conflict])
    [(_, result)] = await results(flow.host, 1)
    assert str(record_of(first)).encode() in result
    assert (await counts(flow.host))["records"] == 3


async def test_conflicts_within_one_slice(flow: Flow) -> None:
    documents = [job(text, idempotency_key="k1") for text in ("one", "two", "one", "two", "three")]
    messages = await take_in(flow.classifier, *documents)
    [winner] = {record_of(m) for m in going_to(flow.host, CLASSIFIED, messages)}
    assert len({record_of(m) for m in going_to(flow.host, OUTCOMES, messages)}) == 2
    assert (await counts(flow.host))["records"] == 3
    assert await owner(flow.host, "k1") == winner


async def test_the_same_key_of_another_tenant_is_another_job(flow: Flow) -> None:
    messages = await take_in(
        flow.classifier, job(idempotency_key="k1"), {**job(idempotency_key="k1"), "tenant": "globex"}
    )
    assert len({record_of(message) for message in messages}) == 2


async def test_a_rejection_is_recorded_once_and_a_mended_message_may_use_the_key(flow: Flow) -> None:
    broken = job(idempotency_key="k1", colour="red")
    [rejection] = await take_in(flow.classifier, broken)
    assert content(rejection)["status"] == "rejected"
    assert content(rejection)["error"] == {"code": "unknown_field", "field": "colour"}
    record_id = record_of(rejection)
    assert await kinds_of(flow.host, record_id) == ["received"]

    assert await take_in(flow.classifier, broken) == [rejection], "unsealed: asked to be sealed again"
    await seal(flow.recorder, [rejection])
    [again] = await take_in(flow.classifier, broken)
    assert (record_of(again), content(again)["status"]) == (record_id, "republish")
    assert (await counts(flow.host))["records"] == 1

    [mended] = await take_in(flow.classifier, job(idempotency_key="k1"))
    assert mended.topic == flow.host.settings.topic(CLASSIFIED.name)


async def test_duplicates_within_a_slice_make_one_record(flow: Flow) -> None:
    messages = await take_in(flow.classifier, *(job(idempotency_key=f"k{n % 10}") for n in range(100)))
    assert {record_of(message) for message in messages} == {await owner(flow.host, f"k{n}") for n in range(10)}
    assert await counts(flow.host) == one_record(10)


async def test_slices_at_the_same_time_with_the_same_keys_make_each_record_once(flow: Flow, host: OpenHost) -> None:
    # Of one process no two slices run at once, and its few connections count on that.
    stages = [ClassifierStage(await host("classifier"), now) for _ in range(20)]
    keys = [f"k{n}" for n in range(50)]

    async def work(number: int) -> set[UUID]:
        ours = keys[number:] + keys[:number]
        return {record_of(m) for m in await take_in(stages[number], *(job(key, idempotency_key=key) for key in ours))}

    told = await asyncio.gather(*(work(number) for number in range(20)))
    assert await owner(flow.host, "k0") in told[0]
    assert all(records == told[0] for records in told), "all slices were told the same fifty records"
    found = await counts(flow.host)
    # Losers had made keys for nobody: none, because keys are made for winners only.
    assert found == one_record(50)


async def test_a_cancel_after_the_job_ends_it_before_the_decision(flow: Flow) -> None:
    messages = await take_in(flow.classifier, job(idempotency_key="k1"))
    assert await take_in(flow.classifier, cancel("k1")) == []
    [outcome] = await decide(flow.router, messages)
    assert (content(outcome)["status"], content(outcome)["error"]["code"]) == ("cancelled", "cancelled")
    await seal(flow.recorder, [outcome])
    assert await kinds_of(flow.host, record_of(outcome)) == ["received", "classified", "sealed"]


async def test_a_cancel_before_its_job_waits_for_it(flow: Flow) -> None:
    assert await take_in(flow.classifier, cancel("k1"), cancel("k1")) == []
    [outcome] = await take_in(flow.classifier, job(idempotency_key="k1"))
    assert (content(outcome)["status"], content(outcome)["error"]["code"]) == ("cancelled", "cancelled")
    [again] = await take_in(flow.classifier, job(idempotency_key="k1"))
    [decided] = await decide(flow.router, [again])
    assert content(decided)["status"] == "cancelled", "a redelivery does not run it after all"
    await seal(flow.recorder, [outcome, decided])
    assert await kinds_of(flow.host, record_of(outcome)) == ["received", "classified", "sealed"]


async def test_a_cancel_in_the_same_slice_in_any_order(flow: Flow) -> None:
    before = await take_in(flow.classifier, cancel("k1"), job(idempotency_key="k1"))
    after = await take_in(flow.classifier, job(idempotency_key="k2"), cancel("k2"))
    assert [content(message)["status"] for message in before + after] == ["cancelled", "cancelled"]
    other = await take_in(flow.classifier, cancel("k3", "globex"), job(idempotency_key="k3"))
    assert going_to(flow.host, CLASSIFIED, other) == other, "another tenant's cancel is none of ours"


async def test_without_a_key_a_job_is_named_by_its_place(flow: Flow) -> None:
    here = [published(job(), offset=7) for _ in range(2)]
    [first] = await take_in(flow.classifier, here[0])
    assert await take_in(flow.classifier, here[1]) == [first]
    elsewhere = [
        published(job(), offset=8),
        published(job(), offset=7, topic="requests-b"),
        published(job(), offset=7, at=PUBLISHED + timedelta(seconds=1)),  # the topic was made again
        published(job("another"), offset=7),
    ]
    others = {record_of(message) for message in await take_in(flow.classifier, *elsewhere)}
    assert len(others) == 4
    assert record_of(first) not in others


async def test_keys_are_forgotten_after_thirty_days_and_not_before(flow: Flow) -> None:
    await take_in(flow.classifier, job(idempotency_key="k1"))
    upkeep = Upkeep(flow.at("recorder"))
    await flow.host.pool.execute(_SQL["age_keys"], timedelta(days=29))
    await upkeep.run_once(now())
    assert (await counts(flow.host))["keys"] == 1
    await flow.host.pool.execute(_SQL["age_keys"], timedelta(days=2))
    await upkeep.run_once(now())
    assert (await counts(flow.host))["keys"] == 0


async def test_keys_without_a_record_are_swept_and_others_stay(flow: Flow) -> None:
    await take_in(flow.classifier, job(idempotency_key="k1"))
    orphans = [new_record_id() for _ in range(3)]
    await flow.host.keyring.create(orphans)
    upkeep = Upkeep(flow.at("recorder"))
    assert await upkeep.sweep_orphan_keys(now()) == 0, "their records may be about to be committed"
    assert await upkeep.sweep_orphan_keys(now() + timedelta(hours=2)) == 3
    assert await flow.host.keyring.load(orphans) == {}
    assert (await counts(flow.host))["record_keys"] == 1


async def test_a_full_slice_is_one_transaction(flow: Flow) -> None:
    messages = await take_in(flow.classifier, *(job(idempotency_key=f"k{n}") for n in range(MAX_RECORDS)))
    assert len(messages) == MAX_RECORDS
    assert await counts(flow.host) == one_record(MAX_RECORDS)
