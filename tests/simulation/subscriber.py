"""What a service sees of FastStream: a broker that it registers consumers with, and the loop around a handler.

As FastStream 0.7 does it with ``NACK_ON_ERROR``: a batch is acknowledged by a commit of every position when its handler
returns, sought back where it raises, and an error of either is logged and nothing more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, Final

from aiokafka import TopicPartition

from services.runtime.telemetry import describe
from simulation.broker import Record
from simulation.clients import MemoryKafkaConsumer
from simulation.world import World

PATIENCE: Final = 100.0
"""How much longer an empty poll waits than asked: nothing happens in it, and every turn costs real time."""


class FastStreamBroker:
    """What a service sees of FastStream's broker."""

    def __init__(self, world: World, process: str) -> None:
        self.subscribers: Final[list[Subscriber]] = []
        self._world = world
        self._process = process

    def subscriber(
        self, *topics: str, group_id: str, pattern: str | None = None, listener: Any = None, **options: Any
    ) -> Subscriber:
        """Register a consumer. The topics of a world do not change: a pattern stands for those that match it now."""
        if pattern is not None:
            topics = tuple(name for name in self._world.broker.topics if re.match(pattern, name))
        consumer = MemoryKafkaConsumer(
            self._world.broker,
            self._world.broker_traffic,
            self._process,
            *topics,
            group_id=group_id,
            listener=listener,
            patience=PATIENCE,
        )
        subscriber = Subscriber(consumer, self._world, self._process, options)
        self.subscribers.append(subscriber)
        return subscriber


class Subscriber:
    """A consumer, and FastStream's loop around its handler: acknowledged on return, sought back on an exception."""

    def __init__(self, consumer: MemoryKafkaConsumer, world: World, name: str, options: dict[str, Any]) -> None:
        self.consumer = consumer
        self._world = world
        self._name = name
        self._options = options
        self._handler: Callable[[Sequence[Record]], Awaitable[None]] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._running = True
        self._idle = asyncio.Event()

    def __call__(self, handler: Callable[[Sequence[Record]], Awaitable[None]]) -> None:
        """Take the handler of batches."""
        self._handler = handler

    async def start(self) -> None:
        """Join the group, and consume if there is a handler."""
        await self.consumer.start()
        if self._handler is not None:
            self._loop = asyncio.create_task(self._consume(self._handler))

    async def stop(self) -> None:
        """Let the batch in work end, then leave the group."""
        self._running = False
        if self._loop is not None:
            await self._idle.wait()
            self._loop.cancel()
        await self.consumer.stop()

    def fall_silent(self) -> None:
        """Send no heartbeat any more."""
        self.consumer.group.silence(self.consumer.member)

    def speak(self) -> None:
        """Send heartbeats again."""
        self.consumer.group.speak(self.consumer.member)

    async def _consume(self, handler: Callable[[Sequence[Record]], Awaitable[None]]) -> None:
        timeout_ms, most = self._options["batch_timeout_ms"], self._options["max_records"]
        while self._running:
            self._idle.set()
            fetched = await self.consumer.getmany(timeout_ms=timeout_ms, max_records=most)
            batch = tuple(chain.from_iterable(fetched.values()))
            if batch and self._running:
                self._idle.clear()
                await self._handle(handler, batch)
        self._idle.set()

    async def _handle(self, handler: Callable[[Sequence[Record]], Awaitable[None]], batch: Sequence[Record]) -> None:
        try:
            await handler(batch)
        except Exception as error:
            self._world.trace.note(self._name, f"gives {len(batch)} back: {describe(error)}")
            self._world.trace.count("batch given back")
            earliest: dict[TopicPartition, int] = {}
            for record in batch:
                name = TopicPartition(record.topic, record.partition)
                earliest[name] = min(record.offset, earliest.get(name, record.offset))
            await self._swallowed(self._seek_back, earliest)
        else:
            await self._swallowed(self.consumer.commit)

    async def _seek_back(self, earliest: dict[TopicPartition, int]) -> None:
        for name, offset in earliest.items():
            self.consumer.seek(name, offset)

    async def _swallowed(self, acknowledge: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        # As FastStream does: an error of an acknowledgement is logged, and nothing more.
        try:
            await acknowledge(*arguments)
        except Exception as error:
            self._world.trace.note(self._name, f"acknowledgement failed: {type(error).__name__}")
            self._world.trace.count("acknowledgement failed")
