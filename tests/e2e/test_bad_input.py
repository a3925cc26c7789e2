"""Bad input on the real topic: each message is answered or kept, and no partition is ever stuck behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord
from aiokafka.errors import MessageSizeTooLargeError
from support import stack_jobs
from support.oracle import faults, read_history
from support.stack_running import RunningStack
from support.stack_topics import by_hand, source_of, tape

from schemas.dead_letter import HEADER_PREFIX
from schemas.result import Result
from schemas.topics import MIB, REQUESTS
from services.cli.publishing.items import Position
from services.cli.publishing.watch import dead_letter, final_result

_HEADERS: Final = [("trace", b"\x00\xff"), ("waybill-topic", b"an impostor")]
_TENANT: Final = stack_jobs.new_tenant("bad-input")


def _job(**fields: Any) -> bytes:
    return orjson.dumps(stack_jobs.job(_TENANT, "") | {"idempotency_key": None} | fields)


def _said(text: bytes) -> bytes:
    """Return a job whose message holds this text, escapes and all."""
    return _job(messages=[{"role": "user", "content": "@"}]).replace(b'"@"', b'"' + text + b'"')


def _without(name: str) -> bytes:
    document = orjson.loads(_job())
    del document[name]
    return orjson.dumps(document)


def _nested(depth: int) -> bytes:
    return _job(metadata={"deep": "@"}).replace(b'"@"', b"[" * depth + b"]" * depth)


# Of these a record is made: the code and the field that its result names.
REJECTED: Final[dict[str, tuple[bytes, str, str | None]]] = {
    "unknown schema version": (_job(schema_version=99), "unsupported_schema_version", "schema_version"),
    "unknown field": (_job(surprise=1), "unknown_field", "surprise"),
    "interactive": (_job(latency_class="interactive"), "latency_class_refused", "latency_class"),
    "negative cap": (_job(caps={"max_output_tokens": -1}), "invalid_message", "caps.max_output_tokens"),
    "negative money": (_job(caps={"max_cost_usd": "-0.01"}), "invalid_message", "caps.max_cost_usd"),
    "deadline in the past": (_job(deadline="2001-01-01T00:00:00Z"), "deadline_passed", "deadline"),
    "20 MB of prompt": (_said(b"x" * 20 * MIB), "too_large", "messages"),
    "100,000 messages": (
        _job(messages=[{"role": "user", "content": "hello"}] * 100_000),
        "invalid_message",
        "messages",
    ),
    "NUL": (_said(rb"before \u0000 after"), "invalid_message", "messages.0.content"),
    "lone surrogate": (_said(rb"before \ud800 after"), "invalid_message", "messages.0.content"),
    "no UTF-8 inside a string": (_said(b"before \xff\xfe after"), "invalid_message", "messages.0.content"),
    "NaN": (_job(params={"temperature": "@"}).replace(b'"@"', b"NaN"), "invalid_message", "params.temperature"),
    "deep nesting": (_nested(100_000), "invalid_message", "metadata"),
    "20,000-character key": (
        _job().replace(b'"idempotency_key":null', b'"idempotency_key":"' + b"k" * 20_000 + b'"'),
        "invalid_message",
        "idempotency_key",
    ),
    "image": (
        _job(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]),
        "unsupported_content",
        "messages.0.content.0.type",
    ),
}
# Of these no record can be made: nobody knows whose they are.
DEAD: Final[dict[str, bytes | None]] = {
    "no JSON": b"\x00\x01\x02 this is no JSON",
    "no UTF-8": b"\xff\xfe\xfd",
    "a list": b"[1, 2, 3]",
    "missing tenant": _without("tenant"),
    "a tenant that is none": _job(tenant="No Tenant!"),
    "empty": b"",
    "no value": None,
}
_LONG_KEY: Final = b"k" * 20_000


@dataclass
class Answered:
    """Where each bad message stood, and what came of it."""

    stack: RunningStack
    positions: dict[str, Position] = field(default_factory=dict)
    results: dict[Position, list[bytes]] = field(default_factory=dict)
    letters: dict[Position, ConsumerRecord[bytes, bytes]] = field(default_factory=dict)

    def take(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Sort what came on the results and the dead-letter topic by what it answers."""
        self.results.clear()
        for record in records:
            if record.topic == self.stack.dead_letter_topic:
                letter = dead_letter(dict(record.headers))
                assert letter is not None, "a dead letter says where it stood"
                self.letters[letter.position] = record
            elif (result := final_result(record.value)) is not None:
                self.results.setdefault(source_of(result), []).append(record.value or b"")

    def result_of(self, name: str) -> Result:
        """Return the result of a bad message."""
        return Result.model_validate_json(self.results[self.positions[name]][0])


@pytest_asyncio.fixture(scope="package")
async def answered(started: RunningStack) -> AsyncIterator[Answered]:
    """Every bad message, published at once over all partitions, and answered."""
    await started.simulate_nothing()
    settings, found = started.settings(), Answered(started)
    topic = settings.topic(REQUESTS.name)
    came = await tape(settings, started.results_topic, started.dead_letter_topic)
    async with by_hand(settings) as producer:
        for number, (name, value) in enumerate(({n: v for n, (v, _, _) in REJECTED.items()} | DEAD).items()):
            key = _LONG_KEY if name.startswith("20,000") else name.encode()
            partition = number % REQUESTS.partitions
            sent = await producer.send_and_wait(topic, value, key, partition, headers=_HEADERS)
            found.positions[name] = Position(sent.topic, sent.partition, sent.offset)

    def all_answered(records: Sequence[ConsumerRecord[bytes, bytes]]) -> bool:
        found.take(records)
        missing = [name for name, place in found.positions.items() if place not in found.results | found.letters]
        assert not missing, f"unanswered: {', '.join(missing)}"
        return True

    await came.until(all_answered, "every bad message is answered or kept")
    yield found


@pytest.mark.parametrize("name", REJECTED)
def test_it_ends_as_a_rejected_record_that_names_the_field(answered: Answered, name: str) -> None:
    _, code, path = REJECTED[name]
    result = answered.result_of(name)
    assert result.status == "rejected"
    assert result.error is not None
    assert (result.error.code, result.error.field) == (code, path)
    assert answered.positions[name] not in answered.letters


async def test_each_rejection_is_one_sealed_record(answered: Answered) -> None:
    stack = answered.stack
    await stack.until_done(_TENANT, len(REJECTED))
    values = [value for values in answered.results.values() for value in values]
    mine = [value for value in values if orjson.loads(value)["tenant"] == _TENANT]
    history = await read_history(stack.database_url, stack.charges, stack.stack.folder.master_key, _TENANT, [], mine)
    assert faults(history, further_records=len(REJECTED)) == []


@pytest.mark.parametrize("name", DEAD)
def test_it_is_kept_as_a_dead_letter_with_its_bytes_and_headers(answered: Answered, name: str) -> None:
    letter = answered.letters[answered.positions[name]]
    assert letter.value == DEAD[name]
    assert letter.key == name.encode()
    headers = dict(letter.headers)
    assert headers["trace"] == b"\x00\xff"
    assert headers["original-waybill-topic"] == b"an impostor"
    assert headers[f"{HEADER_PREFIX}topic"].decode() == answered.positions[name].topic
    assert headers[f"{HEADER_PREFIX}code"] == b"invalid_message"
    assert answered.positions[name] not in answered.results


async def test_the_broker_refuses_a_compressed_bomb(stack: RunningStack) -> None:
    settings = stack.settings()
    bomb = _said(b"0" * 100 * MIB)
    async with by_hand(settings, compression_type="gzip", max_batch_size=1024 * MIB) as producer:
        sent = await producer.send(settings.topic(REQUESTS.name), bomb)
        with pytest.raises(MessageSizeTooLargeError):
            await sent


async def test_a_good_job_on_every_partition_still_succeeds(answered: Answered) -> None:
    stack, tenant = answered.stack, stack_jobs.new_tenant("good")
    settings = stack.settings()
    jobs = stack_jobs.many(tenant, REQUESTS.partitions)
    results = await tape(settings, stack.results_topic)
    async with by_hand(settings) as producer:
        for partition, job in enumerate(jobs):
            await producer.send_and_wait(settings.topic(REQUESTS.name), orjson.dumps(job), partition=partition)
    await stack.until_done(tenant, len(jobs))
    values = await results.results_of(tenant)
    assert {Result.model_validate_json(value).status for value in values} == {"succeeded"}
    assert {Result.model_validate_json(value).source.partition for value in values} == set(range(REQUESTS.partitions))
    history = await read_history(
        stack.database_url, stack.charges, stack.stack.folder.master_key, tenant, stack_jobs.keys(jobs), values
    )
    assert faults(history) == []
