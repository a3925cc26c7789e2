"""Consumer and producer of the broker in memory, with the behaviours of aiokafka 0.14 that Waybill leans on.

``getmany`` returns nothing for a named partition that is not assigned, and waits where a rebalance is under way;
records of an earlier assignment are never returned; positions begin at what was committed, or at the start of the log;
``commit`` and ``seek`` raise ``IllegalStateError`` for a partition that is not assigned, and ``commit``
``CommitFailedError`` once the group has moved on; the listener is told of all partitions, also of those that stay.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from simulation.broker import Broker, Group, Headers, Member, Partitions, Record


class Traffic(Protocol):
    """What lies between a process and the broker."""

    async def before(self, process: str, what: str) -> None:
        """Return when the request arrives."""

    async def after(self, process: str, what: str) -> None:
        """Return when the answer arrives; an exception loses it."""


class MemoryKafkaConsumer:
    """One consumer in a group. ``patience`` stretches the wait of an empty poll, in which nothing happens anyway."""

    def __init__(
        self,
        broker: Broker,
        traffic: Traffic,
        process: str,
        *topics: str,
        group_id: str,
        listener: ConsumerRebalanceListener | None = None,
        patience: float = 1.0,
    ) -> None:
        self._broker = broker
        self._traffic = traffic
        self._process = process
        self.group: Group = broker.group(group_id, topics)
        self.member: Member = broker.new_member(self._disturb)
        self._listener = listener
        self._patience = patience
        self._assignment = Partitions()
        self._position: dict[TopicPartition, int] = {}
        self._generation = 0
        self._rejoins = True
        self._disturbance = asyncio.Event()
        self._news: asyncio.Future[None] | None = None
        self._coordination: asyncio.Task[None] | None = None
        # An attribute, as services wrap it to see that polls go on.
        self.getmany = self._getmany

    async def start(self) -> None:
        """Join the group, in the background."""
        self._coordination = asyncio.create_task(self._coordinate())

    async def stop(self) -> None:
        """Leave the group."""
        if self._coordination is not None:
            self._coordination.cancel()
        self._unread()
        self._assignment = Partitions()
        self._position = {}
        await self._traffic.before(self._process, "leave")
        self.group.leave(self.member)

    def assignment(self) -> Partitions:
        """Return the partitions that are ours."""
        return self._assignment

    async def _getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Record]]:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_ms / 1000 * self._patience
        while True:
            await self._traffic.before(self._process, "fetch")
            fetched = self._fetched(partitions, 500 if max_records is None else max_records)
            left_s = until - loop.time()
            if fetched or left_s <= 0:
                return fetched
            await self._wait_for_news(left_s)

    def _fetched(self, partitions: Sequence[TopicPartition], most: int) -> dict[TopicPartition, list[Record]]:
        fetched: dict[TopicPartition, list[Record]] = {}
        if self._rejoins:
            return fetched
        for name in partitions or self._assignment:
            if name in self._position and most:
                records = self._broker.partition(name).read(self._position[name], most)
                if records:
                    fetched[name] = records
                    self._position[name] = records[-1].offset + 1
                    most -= len(records)
        return fetched

    async def _wait_for_news(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        news = self._news = loop.create_future()
        timer = loop.call_later(seconds, self._tell)
        try:
            await news
        finally:
            timer.cancel()
            self._news = None

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # -- offsets --------------------------------------------------------------------------------------------------

    async def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        """Commit offsets, by default every position."""
        wanted = dict(self._position if offsets is None else offsets)
        for name in wanted:
            self._require(name)
        generation = self._generation
        await self._traffic.before(self._process, "commit")
        if not self.group.accepts(self.member, generation):
            raise CommitFailedError("the group has rebalanced")
        self.group.committed.update(wanted)
        await self._traffic.after(self._process, "commit")

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Fetch on from an offset."""
        self._require(partition)
        self._position[partition] = offset

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset of the next record to be fetched."""
        self._require(partition)
        return self._position[partition]

    async def committed(self, partition: TopicPartition) -> int | None:
        """Return what the group has committed."""
        return self.group.committed.get(partition)

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where the logs begin."""
        return {name: self._broker.partition(name).start for name in partitions}

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offsets that the next records will get."""
        return {name: self._broker.partition(name).end for name in partitions}

    def _require(self, partition: TopicPartition) -> None:
        if partition not in self._position:
            raise IllegalStateError(f"Partition {partition} is not assigned")

    # -- the group ------------------------------------------------------------------------------------------------

    def _disturb(self) -> None:
        self._disturbance.set()

    async def _coordinate(self) -> None:
        while True:
            self._rejoins = True
            if self._listener is not None and self._generation:
                await _awaited(self._listener.on_partitions_revoked(self._assignment))
            self._unread()
            self._disturbance.clear()
            await self._traffic.before(self._process, "join")
            joined: asyncio.Future[Any] = self.group.join(self.member)
            # Thrown out while it waits, by a session that ended or a rebalance that took too long: it joins anew.
            told: asyncio.Future[Any] = asyncio.ensure_future(self._disturbance.wait())
            await asyncio.wait([joined, told], return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            if not joined.done():
                continue
            self._generation, self._assignment = joined.result()
            self._position = {name: self._beginning(name) for name in self._assignment}
            for name in self._assignment:
                self._broker.partition(name).readers.append(self._tell)
            self._rejoins = False
            if self._listener is not None:
                await _awaited(self._listener.on_partitions_assigned(self._assignment))
            self._tell()
            await self._disturbance.wait()
            # The next heartbeat's answer brings the news.
            await self._traffic.before(self._process, "heartbeat")

    def _beginning(self, name: TopicPartition) -> int:
        return max(self.group.committed.get(name, 0), self._broker.partition(name).start)

    def _unread(self) -> None:
        for name in self._assignment:
            readers = self._broker.partition(name).readers
            if self._tell in readers:
                readers.remove(self._tell)


class MemoryKafkaProducer:
    """An idempotent producer: each message is stored once, in order, however long its acknowledgement takes."""

    def __init__(self, broker: Broker, traffic: Traffic, process: str) -> None:
        self._broker = broker
        self._traffic = traffic
        self._process = process
        self._batch: list[tuple[str, bytes | None, bytes | None, Headers, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def send(
        self, topic: str, value: bytes | None = None, key: bytes | None = None, headers: Headers = ()
    ) -> asyncio.Future[None]:
        """Take a message; the future is its acknowledgement."""
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._batch.append((topic, key, value, headers, acknowledged))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        return acknowledged

    async def stop(self) -> None:
        """Send what is left."""
        if self._sending is not None:
            await self._sending

    async def _send(self) -> None:
        while self._batch:
            batch, self._batch = self._batch, []
            error: Exception | None = None
            try:
                await self._traffic.before(self._process, "produce")
                for topic, key, value, headers, _ in batch:
                    partition = self._broker.partition_for(topic, key)
                    partition.append(key, value, headers, self._broker.clock_ms())
                await self._traffic.after(self._process, "produce")
            except Exception as failed:
                error = failed
            for *_, acknowledged in batch:
                if acknowledged.done():
                    continue
                if error is None:
                    acknowledged.set_result(None)
                else:
                    acknowledged.set_exception(error)


async def _awaited(result: Any) -> None:
    if inspect.isawaitable(result):
        await result
