"""Erasing a subject: its records are found, those in flight too, and its unread jobs are refused."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
import pytest_asyncio
from support import sql
from support.erasing import A_DAY, GONE, ask_subject, erasures, left_of, logged
from support.flow import Flow, chain_of, content, decide, kinds_of, record_of, results, seal
from support.jobs import TENANT, job, published, replay, take_in
from support.servers import OpenHost

from services.classifier import stage as classifier
from services.policy import Policy
from services.runtime import erasure, ledger
from services.runtime.ids import now

_SQL = sql.load("erasure")
JANE = "jane@example.org"


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


async def taken_in(flow: Flow, key: str, at: datetime | None = None, **fields: Any) -> dict[str, Any]:
    """Take in one job of the subject, and return the message that follows."""
    document = job(idempotency_key=key, **{"subject": JANE, **fields})
    [message] = await take_in(flow.classifier, published(document) if at is None else published(document, at=at))
    return content(message)


def is_refused(message: dict[str, Any]) -> bool:
    return (message.get("error") or {}).get("code") == "content_erased"


async def test_all_records_of_a_subject_are_erased_and_of_nobody_else(flow: Flow) -> None:
    hers = [UUID((await taken_in(flow, f"k{n}"))["record_id"]) for n in range(3)]
    wrong = await taken_in(flow, "k4", colour="red")  # rejected, and its content is hers all the same
    assert wrong["status"] == "rejected"
    hers.append(UUID(wrong["record_id"]))
    others = [UUID((await taken_in(flow, "o1", subject="john"))["record_id"])]
    others.append(UUID((await taken_in(flow, "o2", tenant="globex"))["record_id"]))
    assert await ask_subject(flow.host, JANE) == dict.fromkeys(hers, "asked")
    assert await erasures(flow).run() == 4
    for record_id in hers:
        assert await left_of(flow.host, record_id) == GONE
    for record_id in others:
        assert await left_of(flow.host, record_id) == {"keys": 1, "contents": 1, "subjects": 1}
    refusal, *records = logged(flow.host)
    assert (refusal.subject, refusal.cause) == (
        erasure.subject_hmac(flow.host.tenant_keys, TENANT, JANE).hex(),
        "subject",
    )
    assert sorted(r for line in records for r in line.records) == sorted(hers)
    assert JANE not in flow.host.settings.erasure_log.read_text()


async def test_an_unread_job_is_refused_and_nothing_of_it_is_kept(flow: Flow) -> None:
    await ask_subject(flow.host, JANE)
    before = published(
        job("hello", idempotency_key="k1", subject=JANE, labels={"team": "a"}, metadata={"name": "Jane"})
    )
    [message] = await take_in(flow.classifier, before)
    assert is_refused(content(message))
    record_id = record_of(message)
    assert await left_of(flow.host, record_id) == GONE
    received = (await chain_of(flow.host, record_id))[0].content()["data"]
    assert (received["labels"], received["bytes"], received["operation"]) == ({}, 0, "chat")
    assert received["error"] == {"code": "content_erased", "field": "subject"}
    await seal(flow.recorder, [message])
    [(_, value)] = await results(flow.host, 1)
    result = orjson.loads(value)
    assert (result["status"], result["error"]["code"], result["erased"]) == ("rejected", "content_erased", True)
    assert result["error"]["retriable"] is False
    # Redelivered, it is the same record and the same answer.
    [again] = await take_in(flow.classifier, before)
    assert record_of(again) == record_id


@pytest.mark.parametrize("document", [{"colour": "red"}, {"messages": 7}])
async def test_what_is_no_acceptable_job_is_refused_too(flow: Flow, document: dict[str, Any]) -> None:
    await ask_subject(flow.host, JANE)
    message = await taken_in(flow, "k1", **document)
    assert is_refused(message)
    assert await left_of(flow.host, UUID(message["record_id"])) == GONE


async def test_clients_clocks_are_believed_only_after_the_window(flow: Flow) -> None:
    erased_at = now()
    later = erased_at + timedelta(days=400)
    await ask_subject(flow.host, JANE, at=erased_at, window=A_DAY)
    assert is_refused(await taken_in(flow, "k1", at=later)), "a clock that is ahead"
    await ask_subject(flow.host, "john", at=erased_at, window=-A_DAY)  # as if it had passed
    assert is_refused(await taken_in(flow, "k2", subject="john", at=erased_at - A_DAY))
    new = await taken_in(flow, "k3", subject="john", at=erased_at + timedelta(seconds=1))
    assert "features" in new, "a new job is a new beginning"
    assert (await left_of(flow.host, UUID(new["record_id"])))["subjects"] == 1


async def test_another_payload_under_a_known_key_leaves_no_content(flow: Flow) -> None:
    first = UUID((await taken_in(flow, "k1"))["record_id"])
    await ask_subject(flow.host, JANE)
    message = await taken_in(flow, "k1", metadata={"more": "of Jane"})
    assert is_refused(message)
    assert UUID(message["record_id"]) != first
    assert await left_of(flow.host, UUID(message["record_id"])) == GONE


async def test_a_replay_of_a_subjects_record_is_erased_with_it(flow: Flow) -> None:
    [message] = await take_in(
        flow.classifier, job(idempotency_key="k1", subject=JANE, constraints={"providers": ["none"]})
    )
    await seal(flow.recorder, await decide(flow.router, [message]))
    [again] = await take_in(flow.classifier, replay(record_of(message)))
    family = {record_of(message), record_of(again)}
    assert await ask_subject(flow.host, JANE) == dict.fromkeys(family, "asked")
    assert await erasures(flow).run() == 2
    for record_id in family:
        assert await left_of(flow.host, record_id) == GONE


async def test_a_job_in_flight_at_the_erasure_is_found(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transaction looked before the erasure was there, and commits after it: neither sees the other at first."""
    looked, go_on = asyncio.Event(), asyncio.Event()
    append = ledger.append

    async def slow(*arguments: Any) -> Any:
        looked.set()
        await go_on.wait()
        return await append(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(classifier.ledger, "append", slow)
        taking = asyncio.create_task(taken_in(flow, "k1"))
        await looked.wait()
        assert await ask_subject(flow.host, JANE) == {}, "nobody sees it yet"
        eraser = erasures(flow)
        for _ in range(3):
            assert await eraser.run() == 0
        [row] = await flow.host.pool.fetch(_SQL["under_way"])
        assert row["subjects"] == 1, "it is not said that all were found"
        go_on.set()
        message = await taking
    assert "features" in message, "taken in, for nobody had said anything"
    assert await eraser.run() == 1
    assert await left_of(flow.host, UUID(message["record_id"])) == GONE
    assert (await kinds_of(flow.host, UUID(message["record_id"]))) == ["received", "classified"]


async def test_jobs_of_a_subject_while_it_is_erased_again_and_again(flow: Flow) -> None:
    """However intake and erasure meet: what was taken in is erased, and what was refused has nothing."""
    window = timedelta(seconds=-1)  # every job that says it was published later is taken in

    places = asyncio.Semaphore(3)  # each holds a connection, and needs one more for its keys

    async def publish(number: int) -> None:
        async with places:
            await taken_in(flow, f"k{number}", at=now())

    async def erase() -> None:
        for _ in range(6):
            await ask_subject(flow.host, JANE, window=window)
            await erasures(flow).run()

    await asyncio.gather(erase(), *(publish(number) for number in range(24)))
    await ask_subject(flow.host, JANE, window=window)
    await erasures(flow).run()
    [row] = await flow.host.pool.fetch(_SQL["under_way"])
    assert tuple(row) == (0, 0)
    counts = await flow.host.pool.fetchrow(sql.load("intake")["counts"])
    assert counts is not None
    assert (counts["records"], counts["contents"], counts["record_keys"]) == (24, 0, 0)
