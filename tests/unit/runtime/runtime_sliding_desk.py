"""Work that ends when told to, and a consumer that runs over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from runtime_memory_consumer import MemoryConsumer, Record

from services.runtime.sliding import SlidingConsumer
from services.runtime.telemetry import Telemetry

P0, P1 = TopicPartition("routed", 0), TopicPartition("routed", 1)
PATIENCE_S = 120.0
"""Longer than anything here takes; only a bug waits for it."""


class Desk:
    """The work on records: each stays in work until it is told to end."""

    def __init__(self) -> None:
        self.begun: list[tuple[TopicPartition, int]] = []
        self._ends: dict[tuple[TopicPartition, int], asyncio.Future[None]] = {}
        self._changed = asyncio.Condition()

    async def work(self, record: Record) -> None:
        """Take a record and wait for its end."""
        name = (TopicPartition(record.topic, record.partition), record.offset)
        end = self._ends[name] = asyncio.get_running_loop().create_future()
        self.begun.append(name)
        async with self._changed:
            self._changed.notify_all()
        await end

    async def end(self, partition: TopicPartition, *offsets: int, error: Exception | None = None) -> None:
        """End the latest work on each record, and let its consumer notice."""
        for offset in offsets:
            end = self._ends[partition, offset]
            end.set_result(None) if error is None else end.set_exception(error)
        await settle()

    async def until_begun(self, count: int) -> None:
        """Wait until so many records were taken."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(self.begun) >= count)


async def settle() -> None:
    """Let every task that is ready run until none is."""
    for _ in range(8):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(
    broker: MemoryConsumer, work: Callable[[Record], Awaitable[None]], *, max_in_flight: int = 100
) -> AsyncIterator[SlidingConsumer]:
    """A consumer that runs, before its first assignment."""
    consumer = SlidingConsumer(work, max_in_flight=max_in_flight, telemetry=Telemetry("test"))
    consumer.attach(broker)
    broker.listen(consumer)
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        task.cancel()
        await asyncio.wait([task])
        await consumer.drain(0)


async def polls(broker: MemoryConsumer, more: int) -> None:
    wanted = len(broker.polls) + more
    async with asyncio.timeout(PATIENCE_S), broker.happened:
        await broker.happened.wait_for(lambda: len(broker.polls) >= wanted)
    await settle()
