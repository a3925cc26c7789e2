"""Where consumer groups stand, and messages at given times: what the sweeper's look at Kafka is tested with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import GroupCoordinatorNotAvailableError

from schemas.topics import Topic
from services.runtime.settings import Settings
from services.runtime.topics import open_admin

BOUND_S = 120


async def until_groups_answer(bootstrap_servers: str) -> None:
    """Wait until a broker answers for consumer groups: it makes their topic when it is first asked."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        async with asyncio.timeout(BOUND_S):
            while True:
                try:
                    await admin.find_coordinator("tests")
                    return
                except GroupCoordinatorNotAvailableError:
                    await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def publish_at(settings: Settings, topic: Topic, moments: Sequence[tuple[int, datetime]]) -> None:
    """Publish one message for each partition and time, in order."""
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, acks="all") as producer:
        for partition, moment in moments:
            await producer.send_and_wait(
                settings.topic(topic.name), b"x", partition=partition, timestamp_ms=round(moment.timestamp() * 1000)
            )


async def commit(settings: Settings, service: str, topic: Topic, offsets: Mapping[int, int] | None = None) -> None:
    """Commit offsets for a service's group, by partition; without any, the end of every partition."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers, group_id=settings.group(service), enable_auto_commit=False
    )
    async with consumer:
        partitions = await partitions_of(settings, topic)
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        wanted = {p.partition: end for p, end in ends.items()} if offsets is None else offsets
        await consumer.commit({TopicPartition(settings.topic(topic.name), p): offset for p, offset in wanted.items()})


async def truncate(settings: Settings, topic: Topic, before: Mapping[int, int]) -> None:
    """Remove what stands before these offsets, by partition, as retention would."""
    admin = await open_admin(settings)
    try:
        name = settings.topic(topic.name)
        await admin.delete_records(
            {TopicPartition(name, p): RecordsToDelete(before_offset=o) for p, o in before.items()}
        )
    finally:
        await admin.close()


async def partitions_of(settings: Settings, topic: Topic) -> list[TopicPartition]:
    """Return the partitions of a topic."""
    admin = await open_admin(settings)
    try:
        [found] = await admin.describe_topics([settings.topic(topic.name)])
        return [TopicPartition(found["topic"], partition["partition"]) for partition in found["partitions"]]
    finally:
        await admin.close()
