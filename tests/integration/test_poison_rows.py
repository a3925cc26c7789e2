"""One row that the database refuses, amid a full slice: it alone is set apart, and all the others go on.

The refusal is a constraint of SQLSTATE class 23 that names one record; what the data really was does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias
from uuid import UUID

import asyncpg
import orjson
import pytest_asyncio
from aiokafka import ConsumerRecord
from support import sql
from support.flow import chain_of, content, messages_in, record_of
from support.jobs import TENANT, job, published, take_in
from support.servers import OpenHost

from schemas.codes import EntryKind
from schemas.dead_letter import HEADER_PREFIX
from schemas.topics import CLASSIFIED, OUTCOMES, RESULTS, ROUTED_BACKGROUND
from services.classifier.stage import ClassifierStage
from services.policy import Policy
from services.recorder.stage import RecorderStage
from services.router.stage import RouterStage
from services.runtime.host import Host
from services.runtime.ids import now
from services.runtime.kafka import Outgoing
from services.runtime.microbatch import MicroBatch
from services.runtime.slices import MAX_RECORDS

_SQL: Final = sql.load("poison")
_INTAKE: Final = sql.load("intake")
MIDDLE: Final = MAX_RECORDS // 2
BAD_TENANT: Final = "poison"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest_asyncio.fixture
async def classifier(host: OpenHost) -> Host:
    return await host("classifier")


def slice_of(messages: Sequence[Outgoing]) -> list[ConsumerRecord[bytes, bytes]]:
    """Return messages as one poll brings them."""
    return [published(message.value) for message in messages]


async def taken_in(classifier: Host, **fields: Any) -> list[Outgoing]:
    """Take in a full slice of jobs, and return what follows."""
    return await take_in(ClassifierStage(classifier, now), *(job(f"note {n}", **fields) for n in range(MAX_RECORDS)))


async def test_the_classifier_keeps_it_as_a_dead_letter(classifier: Host, connection: Connection) -> None:
    await connection.execute(_SQL["refuse_tenant"].format(tenant=BAD_TENANT))
    records = [published(job(tenant=BAD_TENANT if n == MIDDLE else TENANT)) for n in range(MAX_RECORDS)]
    sent = _record_what_is_sent(classifier)
    await MicroBatch(ClassifierStage(classifier, now), classifier).handle(records)

    counts = await connection.fetchrow(_INTAKE["counts"])
    assert counts is not None
    assert (counts["records"], counts["open_records"], counts["keys"]) == (MAX_RECORDS - 1,) * 3
    woken = [message for message in sent if message.topic == classifier.settings.topic(CLASSIFIED.name)]
    [letter] = [message for message in sent if message not in woken]
    assert len({record_of(message) for message in woken}) == MAX_RECORDS - 1
    assert letter.value == records[MIDDLE].value
    assert dict(letter.headers)[f"{HEADER_PREFIX}offset"] == str(records[MIDDLE].offset).encode()


async def test_the_router_ends_its_record_as_failed(
    classifier: Host, host: OpenHost, policy: Policy, connection: Connection
) -> None:
    messages = await taken_in(classifier)
    bad = record_of(messages[MIDDLE])
    await connection.execute(_SQL["refuse_entry"].format(record_id=bad, kind=EntryKind.DECIDED))
    router = await host("router")
    sent = _record_what_is_sent(router)
    await MicroBatch(RouterStage(router, policy, now), router).handle(slice_of(messages))

    routed = [message for message in sent if message.topic == router.settings.topic(ROUTED_BACKGROUND.name)]
    [outcome] = [message for message in sent if message not in routed]
    assert {record_of(message) for message in routed} == {record_of(message) for message in messages} - {bad}
    assert (record_of(outcome), content(outcome)["status"]) == (bad, "failed")
    assert [entry.kind for entry in await chain_of(router, bad)] == ["received", "classified"]


async def test_the_recorder_leaves_its_record_open_and_seals_it_once_it_can(
    classifier: Host, host: OpenHost, connection: Connection
) -> None:
    outcomes = await taken_in(classifier, colour="red")
    assert {message.topic for message in outcomes} == {classifier.settings.topic(OUTCOMES.name)}
    bad = record_of(outcomes[MIDDLE])
    await connection.execute(_SQL["refuse_entry"].format(record_id=bad, kind=EntryKind.SEALED))
    recorder = await host("recorder")
    batch = MicroBatch(RecorderStage(recorder, now), recorder)
    await batch.handle(slice_of(outcomes))
    assert await _answered(recorder) == {record_of(message) for message in outcomes} - {bad}
    assert [row["record_id"] for row in await connection.fetch(_SQL["open"])] == [bad]

    await connection.execute(_SQL["allow"])
    await batch.handle(slice_of([outcomes[MIDDLE]]))
    assert bad in await _answered(recorder)
    assert await connection.fetch(_SQL["open"]) == []


def _record_what_is_sent(host: Host) -> list[Outgoing]:
    """Return a list that fills with every message that the host's producer has sent."""
    sent: list[Outgoing] = []
    send = host.producer.send

    async def recorded(messages: Any) -> None:
        messages = list(messages)
        await send(messages)
        sent.extend(messages)

    host.producer.send = recorded  # type: ignore[method-assign]
    return sent


async def _answered(recorder: Host) -> set[UUID]:
    return {UUID(orjson.loads(value)["record_id"]) for _, value in await messages_in(recorder, RESULTS, 0)}
