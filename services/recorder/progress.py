"""How far each stage has come: the time before which everything sent to it has been carried through.

A backlog is not a loss. The sweeper wakes a stage again only for what that stage must have passed already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.runtime.kafka import client_security
from services.runtime.settings import Settings
from services.runtime.topics import open_admin

FETCH_TIMEOUT_S: Final = 20
POLL_MS: Final = 1_000


class Progress(Protocol):
    """How far consumer groups have come."""

    async def passed(self, group: str, topics: Sequence[str], now: datetime) -> datetime:
        """Return the time of the oldest message that a group has not committed, or ``now`` where there is none."""


class KafkaProgress:
    """Asks the broker."""

    def __init__(self, settings: Settings) -> None:
        """Ask the brokers that the settings name."""
        self._settings = settings

    async def passed(self, group: str, topics: Sequence[str], now: datetime) -> datetime:
        """Return what :func:`stage_progress` does."""
        return await stage_progress(self._settings, group, topics, now)


async def stage_progress(settings: Settings, group: str, topics: Sequence[str], now: datetime) -> datetime:
    """Return the time of the oldest message that a consumer group has not committed, or ``now`` where there is none.

    A committed offset before the log's start counts as the start: what a topic has lost is not waiting in it.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        **client_security(settings),
    )
    admin = await open_admin(settings)
    try:
        await consumer.start()
        partitions = [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in await admin.describe_topics(list(topics))
            for partition in topic["partitions"]
        ]
        committed = await admin.list_consumer_group_offsets(group, partitions=partitions)
        starts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        waiting = {
            partition: offset
            for partition in partitions
            if (offset := max(committed[partition].offset, starts[partition])) < ends[partition]
        }
        return await _oldest(consumer, waiting, ends, now)
    finally:
        await consumer.stop()
        await admin.close()


async def _oldest(
    consumer: AIOKafkaConsumer, waiting: dict[TopicPartition, int], ends: dict[TopicPartition, int], now: datetime
) -> datetime:
    if not waiting:
        return now
    consumer.assign(list(waiting))
    for partition, offset in waiting.items():
        consumer.seek(partition, offset)
    oldest, missing = now, set(waiting)
    async with asyncio.timeout(FETCH_TIMEOUT_S):
        while missing:
            fetched = await consumer.getmany(*missing, timeout_ms=POLL_MS, max_records=len(missing))
            for partition, records in fetched.items():
                missing.discard(partition)
                oldest = min(oldest, datetime.fromtimestamp(records[0].timestamp / 1000, UTC))
            # Nothing to fetch up to the end: markers of transactions, or retention was faster than we were.
            missing -= {partition for partition in missing if await consumer.position(partition) >= ends[partition]}
    return oldest
