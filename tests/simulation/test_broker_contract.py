"""One contract for the broker in memory and for Kafka: what the stages rely on is the same on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import CommitFailedError, IllegalStateError

from simulation.broker import Broker
from simulation.clients import MemoryKafkaConsumer, MemoryKafkaProducer
from simulation.memory_database import Undisturbed

BOUND_S = 120
PARTITIONS = 2


class Bench(Protocol):
    """A broker with one topic, for one test."""

    topic: str

    async def consumer(self, listener: ConsumerRebalanceListener | None = None) -> Any:
        """Return a started member of the test's group."""

    async def publish(self, *values: bytes) -> None:
        """Publish values under one key, in order."""

    async def truncate(self, partition: TopicPartition, before: int) -> None:
        """Lose what stands before an offset."""


class MemoryBench:
    """The broker in memory."""

    def __init__(self) -> None:
        self.topic = "topic"
        self.broker = Broker(lambda: 0)
        self.broker.create_topic(self.topic, PARTITIONS)
        self._traffic: Any = Undisturbed()
        self._consumers: list[MemoryKafkaConsumer] = []

    async def consumer(self, listener: ConsumerRebalanceListener | None = None) -> MemoryKafkaConsumer:
        consumer = MemoryKafkaConsumer(
            self.broker, self._traffic, "test", self.topic, group_id="group", listener=listener
        )
        await consumer.start()
        self._consumers.append(consumer)
        return consumer

    async def publish(self, *values: bytes) -> None:
        producer = MemoryKafkaProducer(self.broker, self._traffic, "test")
        for value in values:
            await (await producer.send(self.topic, value, key=b"key"))

    async def truncate(self, partition: TopicPartition, before: int) -> None:
        self.broker.partition(partition).truncate(before)

    async def close(self) -> None:
        for consumer in self._consumers:
            await consumer.stop()


class KafkaBench:
    """A real one."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.topic = f"contract-{uuid4().hex[:12]}"
        self._servers = bootstrap_servers
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        await self._admin.start()
        self._stack.push_async_callback(self._admin.close)
        await self._admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])

    async def consumer(self, listener: ConsumerRebalanceListener | None = None) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            group_id=f"group-{self.topic}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=6_000,
            heartbeat_interval_ms=200,
        )
        consumer.subscribe([self.topic], listener=listener)
        await consumer.start()
        self._stack.push_async_callback(consumer.stop)
        return consumer

    async def publish(self, *values: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self._servers, acks="all") as producer:
            for value in values:
                await producer.send_and_wait(self.topic, value, key=b"key")

    async def truncate(self, partition: TopicPartition, before: int) -> None:
        await self._admin.delete_records({partition: RecordsToDelete(before_offset=before)})

    async def close(self) -> None:
        await self._stack.aclose()


@pytest_asyncio.fixture
async def memory_bench() -> AsyncIterator[MemoryBench]:
    """The broker in memory."""
    bench = MemoryBench()
    yield bench
    await bench.close()


@pytest_asyncio.fixture
async def kafka_bench(kafka: str) -> AsyncIterator[KafkaBench]:
    """A topic of its own on a real broker."""
    bench = KafkaBench(kafka)
    await bench.start()
    yield bench
    await bench.close()


@pytest.fixture(params=["memory", "kafka"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """A broker of either kind."""
    found: Bench = request.getfixturevalue(f"{request.param}_bench")
    return found


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, frozenset[TopicPartition]]] = []
        self.changed = asyncio.Condition()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._tell("revoked", revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._tell("assigned", assigned)

    async def until_it_has(self, count: int) -> None:
        """Wait until the last assignment has so many partitions."""
        async with asyncio.timeout(BOUND_S), self.changed:
            await self.changed.wait_for(
                lambda: bool(self.told) and self.told[-1][0] == "assigned" and len(self.told[-1][1]) == count
            )

    async def _tell(self, what: str, partitions: Iterable[TopicPartition]) -> None:
        async with self.changed:
            self.told.append((what, frozenset(partitions)))
            self.changed.notify_all()


async def read(consumer: Any, count: int) -> list[Any]:
    """Return so many records."""
    found: list[Any] = []
    async with asyncio.timeout(BOUND_S):
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
    return found


def values(records: Sequence[Any]) -> list[bytes]:
    return [record.value for record in records]


def place_of(record: Any) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)


async def test_a_partition_keeps_its_order_and_counts_from_zero(bench: Bench) -> None:
    await bench.publish(b"a", b"b", b"c")
    records = await read(await bench.consumer(), 3)

    assert values(records) == [b"a", b"b", b"c"]
    assert [record.offset for record in records] == [0, 1, 2]
    assert {record.key for record in records} == {b"key"}
    assert len({place_of(record) for record in records}) == 1


async def test_a_new_member_goes_on_behind_what_was_committed(bench: Bench) -> None:
    await bench.publish(b"a", b"b", b"c")
    first = await bench.consumer()
    records = await read(first, 3)
    await first.commit({place_of(records[0]): 2})
    await first.stop()

    assert values(await read(await bench.consumer(), 1)) == [b"c"]


async def test_a_commit_without_offsets_is_one_of_every_position(bench: Bench) -> None:
    await bench.publish(b"a", b"b")
    first = await bench.consumer()
    records = await read(first, 2)
    await first.commit()

    assert await first.committed(place_of(records[0])) == 2


async def test_what_was_not_committed_comes_again(bench: Bench) -> None:
    await bench.publish(b"a", b"b")
    first = await bench.consumer()
    await read(first, 2)
    await first.stop()

    assert values(await read(await bench.consumer(), 2)) == [b"a", b"b"]


async def test_a_consumer_may_seek_back_and_on(bench: Bench) -> None:
    await bench.publish(b"a", b"b", b"c")
    consumer = await bench.consumer()
    partition = place_of((await read(consumer, 3))[0])

    consumer.seek(partition, 1)
    assert values(await read(consumer, 2)) == [b"b", b"c"]
    assert await consumer.position(partition) == 3


async def test_a_log_has_a_beginning_and_an_end(bench: Bench) -> None:
    await bench.publish(b"a", b"b")
    consumer = await bench.consumer()
    partition = place_of((await read(consumer, 2))[0])

    assert await consumer.beginning_offsets([partition]) == {partition: 0}
    assert await consumer.end_offsets([partition]) == {partition: 2}
    await bench.truncate(partition, 1)
    assert await consumer.beginning_offsets([partition]) == {partition: 1}
    assert await consumer.end_offsets([partition]) == {partition: 2}


async def test_who_stands_before_the_beginning_of_a_log_goes_on_there(bench: Bench) -> None:
    await bench.publish(b"a", b"b", b"c")
    first = await bench.consumer()
    partition = place_of((await read(first, 3))[0])
    await first.commit({partition: 0})
    await bench.truncate(partition, 2)
    await first.stop()

    assert values(await read(await bench.consumer(), 1)) == [b"c"]


async def test_a_partition_that_is_not_assigned_gives_nothing_and_takes_nothing(bench: Bench) -> None:
    listener = Listener()
    consumer = await bench.consumer(listener)
    await listener.until_it_has(PARTITIONS)
    stranger = TopicPartition("no-such-topic", 0)

    assert await consumer.getmany(stranger, timeout_ms=0) == {}
    with pytest.raises(IllegalStateError):
        consumer.seek(stranger, 0)
    with pytest.raises(IllegalStateError):
        await consumer.commit({stranger: 0})


async def test_members_share_the_partitions_and_the_listener_hears_of_all(bench: Bench) -> None:
    one, other = Listener(), Listener()
    first = await bench.consumer(one)
    await one.until_it_has(PARTITIONS)
    everything = frozenset(first.assignment())
    second = await bench.consumer(other)
    await one.until_it_has(1)
    await other.until_it_has(1)

    assert ("revoked", everything) in one.told
    assert frozenset(first.assignment()) | frozenset(second.assignment()) == everything
    assert not frozenset(first.assignment()) & frozenset(second.assignment())

    await second.stop()
    await one.until_it_has(PARTITIONS)
    assert frozenset(first.assignment()) == everything


async def test_a_member_that_was_thrown_out_commits_nothing() -> None:
    # In memory only: a real client that stands still cannot be told from one that does not, within one event loop.
    bench = MemoryBench()
    await bench.publish(b"a")
    first = await bench.consumer()
    partition = place_of((await read(first, 1))[0])
    first.group.leave(first.member)

    with pytest.raises(CommitFailedError):
        await first.commit({partition: 1})
    assert first.group.committed == {}
    await bench.close()
