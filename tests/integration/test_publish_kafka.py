"""Publishing to a real Kafka and waiting, with the recorder's part played by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from schemas.codes import ErrorCode
from schemas.dead_letter import dead_letter_headers
from schemas.job import Job
from schemas.topics import DEAD_LETTER, REQUESTS, RESULTS
from services.cli.publishing.lines import Format, open_source
from services.cli.publishing.openai_batch import Defaults
from services.cli.publishing.run import Request, execute
from services.cli.publishing.sinks import Sinks
from services.cli.publishing.summary import Summary
from services.runtime.kafka import Outgoing, Producer
from services.runtime.settings import Settings

JOBS = 200
FAILED = frozenset({"req-7", "req-77"})
Record: TypeAlias = "ConsumerRecord[bytes, bytes]"


def batch_file(path: Path) -> Path:
    bodies = [{"model": "m", "messages": [{"role": "user", "content": f"{n}?"}]} for n in range(JOBS)]
    lines = [
        {"custom_id": f"req-{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for n, body in enumerate(bodies)
    ]
    lines.insert(3, lines[0] | {"custom_id": "refused", "body": bodies[0] | {"n": 2}})
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return path


def answer(record: Record) -> Outgoing:
    """Return what the recorder would publish of a valid job."""
    job = Job.model_validate_json(record.value)
    failed = job.metadata["custom_id"] in FAILED
    error = {"code": "provider_failed", "message": "No attempt brought an answer.", "retriable": True}
    result = {
        "record_id": str(uuid4()),
        "tenant": job.tenant,
        "idempotency_key": job.idempotency_key,
        "source": {"topic": record.topic, "partition": record.partition, "offset": record.offset},
        "status": "failed" if failed else "succeeded",
        "error": error if failed else None,
        "output": None if failed else {"object": "chat.completion", "choices": []},
        "usage": {"input_tokens": 1, "cached_input_tokens": 0, "output_tokens": 1, "reasoning_tokens": 0},
        "cost_usd": "0.01",
        "attempts": 1,
        "received_at": "2026-01-01T00:00:00Z",
        "sealed_at": "2026-01-01T00:00:01Z",
        "record_head": {"seq": 5, "hash": "0" * 64},
        "metadata": job.metadata,
    }
    return Outgoing(RESULTS.name, b"r", orjson.dumps(result))


def bury(record: Record) -> Outgoing:
    """Return what the classifier would publish of a message that nobody owns."""
    headers = dead_letter_headers(
        record.headers,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        code=ErrorCode.INVALID_MESSAGE,
        reason="tenant: missing",
    )
    return Outgoing(DEAD_LETTER.name, record.key, record.value, headers)


@asynccontextmanager
async def playing(settings: Settings, play: Callable[[Record], Outgoing]) -> AsyncIterator[list[Record]]:
    """Answer every message twice, as after a redelivery; yields what was seen."""
    seen: list[Record] = []
    producer = Producer(settings, "test")
    consumer = AIOKafkaConsumer(
        settings.topic(REQUESTS.name),
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id=None,
        auto_offset_reset="earliest",
    )
    await producer.start()
    await consumer.start()

    async def run() -> None:
        async for record in consumer:
            seen.append(record)
            outgoing = play(record)
            await producer.send([outgoing._replace(topic=settings.topic(outgoing.topic))] * 2)

    task = asyncio.create_task(run())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])
        await consumer.stop()
        await producer.stop()
        assert task.cancelled(), task.exception()


async def publish(
    settings: Settings, file: Path, *, out: Path | None = None, errors: Path | None = None, patience: float = 60
) -> Summary:
    summary = Summary(waited=True)
    with open_source(file) as source, Sinks(out, errors, say=lambda text: None) as sinks:
        request = Request(
            source,
            None,
            lambda format: Defaults("demo") if format is Format.OPENAI_BATCH else None,
            wait=True,
            patience=timedelta(seconds=patience),
        )
        await execute(settings, request, sinks, summary, lambda summary: None)
    return summary


def by_id(path: Path) -> dict[str, Any]:
    return {line["custom_id"]: line for line in map(orjson.loads, path.read_bytes().splitlines())}


async def test_a_batch_is_published_and_its_results_are_written(settings: Settings, tmp_path: Path) -> None:
    file, out, errors = batch_file(tmp_path / "batch"), tmp_path / "out", tmp_path / "errors"
    async with playing(settings, answer) as seen:
        summary = await publish(settings, file, out=out, errors=errors)
    assert (summary.lines, summary.published, summary.refused, summary.missing) == (JOBS + 1, JOBS, 1, 0)
    assert summary.statuses == {"succeeded": JOBS - len(FAILED), "failed": len(FAILED)}
    assert not summary.succeeded
    assert by_id(out).keys() == {f"req-{n}" for n in range(JOBS)} - FAILED
    assert by_id(errors).keys() == FAILED | {"refused"}
    assert len(out.read_bytes().splitlines()) == JOBS - len(FAILED)
    keys = {record.key for record in seen}
    assert keys == {orjson.loads(record.value)["idempotency_key"].encode() for record in seen}
    assert len(keys) == JOBS


async def test_a_second_run_does_not_see_the_results_of_the_first(settings: Settings, tmp_path: Path) -> None:
    file = batch_file(tmp_path / "batch")
    async with playing(settings, answer):
        await publish(settings, file)
    summary = await publish(settings, file, patience=0.5)
    assert (summary.published, summary.missing) == (JOBS, JOBS)


async def test_native_lines_arrive_byte_by_byte_and_dead_letters_are_told(settings: Settings, tmp_path: Path) -> None:
    lines = [b'{ "no":  "tenant" }', b"not json", b'{"idempotency_key": "k", "n": 1.0}']
    (tmp_path / "jobs").write_bytes(b"\n\n".join(lines))
    async with playing(settings, bury) as seen:
        summary = await publish(settings, tmp_path / "jobs", errors=tmp_path / "errors")
    assert {record.value for record in seen} == set(lines)
    assert {record.key for record in seen} == {None, b"k"}
    assert summary.statuses == {"dead_lettered": 3}
    written = [orjson.loads(line) for line in (tmp_path / "errors").read_bytes().splitlines()]
    assert sorted(line["line"] for line in written) == [1, 3, 5]
