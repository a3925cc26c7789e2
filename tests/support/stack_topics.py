"""Kafka as a client of Waybill sees it: publishing by hand, and everything that a topic brought since a moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas.topics import MIB
from services.cli.publishing.items import Position
from services.runtime.kafka import BrokerUnreachableError, Outgoing, Producer, ProducerBrokenError, client_security
from services.runtime.settings import Settings
from services.runtime.topics import open_admin
from support.stack_running import PATIENCE_S, until

_READ_MS: Final = 500


class Tape:
    """What came on some topics since it was made: it remembers where they ended then."""

    def __init__(self, settings: Settings, starts: dict[TopicPartition, int]) -> None:
        """Take where to begin; :func:`tape` finds out."""
        self._settings = settings
        self._starts = starts

    async def read(self) -> list[ConsumerRecord[bytes, bytes]]:
        """Return every message from there to the present end."""
        found: list[ConsumerRecord[bytes, bytes]] = []
        async with _consumer(self._settings) as consumer:
            ends = await consumer.end_offsets(list(self._starts))
            consumer.assign(list(self._starts))
            for partition, offset in self._starts.items():
                consumer.seek(partition, offset)
            behind = {partition for partition, end in ends.items() if self._starts[partition] < end}
            deadline = time.monotonic() + PATIENCE_S
            while behind:
                assert time.monotonic() < deadline, "the topics can be read to their end"
                for records in (await consumer.getmany(*behind, timeout_ms=_READ_MS)).values():
                    found += records
                behind = {partition for partition in behind if await consumer.position(partition) < ends[partition]}
        return found

    async def results_of(self, tenant: str) -> list[bytes]:
        """Return the final results of a tenant, as they stand on the topic."""
        values = [record.value or b"" for record in await self.read()]
        return [value for value in values if orjson.loads(value).get("tenant") == tenant]

    async def until(self, enough: Callable[[Sequence[ConsumerRecord[bytes, bytes]]], bool], what: str) -> None:
        """Read again and again until it is enough."""

        async def looks_enough() -> bool:
            return enough(await self.read())

        await until(looks_enough, what)


async def tape(settings: Settings, *topics: str) -> Tape:
    """Return a tape of these topics from now on."""
    admin = await open_admin(settings)
    try:
        partitions = [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in await admin.describe_topics(list(topics))
            for partition in topic["partitions"]
        ]
    finally:
        await admin.close()
    async with _consumer(settings) as consumer:
        return Tape(settings, await consumer.end_offsets(partitions))


async def publish(settings: Callable[[], Settings], messages: Sequence[Outgoing]) -> None:
    """Publish like a client that must not lose anything: what was not acknowledged is published again, all of it."""

    async def acknowledged() -> bool:
        producer = Producer(settings(), "e2e-client")
        try:
            await producer.start()
            await producer.send(messages)
        except (BrokerUnreachableError, ProducerBrokenError, KafkaError):
            return False
        finally:
            async with asyncio.timeout(PATIENCE_S):
                await producer.stop()
        return True

    await until(acknowledged, f"{len(messages)} messages are acknowledged")


@asynccontextmanager
async def by_hand(settings: Settings, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """Give a producer that checks nothing itself: the broker is to decide."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, acks="all", max_request_size=1024 * MIB, **options
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def source_of(document: dict[str, Any]) -> Position:
    """Return the place that a result answers."""
    return Position(**document["source"])


@asynccontextmanager
async def _consumer(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        **client_security(settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=25 * MIB,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
