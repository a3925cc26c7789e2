"""The sliding-window consumer against a consumer in memory: rebalances, backpressure, commits, draining."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from runtime_memory_consumer import MemoryConsumer, Record

from services.runtime import sliding
from services.runtime.sliding import SlidingConsumer
from services.runtime.telemetry import Telemetry

P0, P1 = TopicPartition("routed", 0), TopicPartition("routed", 1)
PATIENCE_S = 30.0
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
        await _settle()

    async def until_begun(self, count: int) -> None:
        """Wait until so many records were taken."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(self.begun) >= count)


async def _settle() -> None:
    """Let every task that is ready run until none is."""
    for _ in range(8):
        await asyncio.sleep(0)


@pytest.fixture
def desk() -> Desk:
    """The work."""
    return Desk()


@pytest.fixture
def broker() -> MemoryConsumer:
    """Two partitions of ten messages each."""
    return MemoryConsumer({P0: list(range(10)), P1: list(range(10))})


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


async def _polls(broker: MemoryConsumer, more: int) -> None:
    wanted = len(broker.polls) + more
    async with asyncio.timeout(PATIENCE_S), broker.happened:
        await broker.happened.wait_for(lambda: len(broker.polls) >= wanted)
    await _settle()


# -- polling ------------------------------------------------------------------------------------------------------


async def test_before_the_first_assignment_only_the_dummy_is_polled(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work):
        await _polls(broker, 2)

        assert not {partition for poll in broker.polls for partition in poll} & {P0, P1}
        assert desk.begun == []


async def test_messages_are_in_work_all_at_once(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0, P1])
        await desk.until_begun(20)

        assert sorted(desk.begun) == sorted((p, o) for p in (P0, P1) for o in range(10))
        assert consumer.in_flight == 20


async def test_no_more_is_in_work_than_allowed_and_polling_goes_on(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work, max_in_flight=3) as consumer:
        await broker.rebalance([P0])
        await desk.until_begun(3)
        await _polls(broker, 2)
        assert (len(desk.begun), consumer.in_flight) == (3, 3)
        assert P0 not in broker.polls[-1]

        await desk.end(P0, 1)
        await desk.until_begun(4)
        assert consumer.in_flight == 3


async def test_a_partition_whose_window_is_full_is_not_named(
    broker: MemoryConsumer, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sliding, "PER_PARTITION", 4)
    monkeypatch.setattr(sliding, "PER_POLL", 2)
    broker.log[P1] = []
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0, P1])
        await desk.until_begun(4)
        # Done behind an unfinished head: they still count, or the window would run ahead without end.
        await desk.end(P0, 1, 2, 3)
        await _polls(broker, 2)
        assert broker.polls[-1] == (P1,)
        assert (len(desk.begun), consumer.in_flight) == (4, 1)

        await desk.end(P0, 0)
        await desk.until_begun(8)


async def test_polling_moves_the_sign_of_life(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        consumer.last_poll = 0.0
        await _polls(broker, 2)

        assert consumer.last_poll > 0.0


# -- committing ---------------------------------------------------------------------------------------------------


async def test_only_what_lies_behind_the_slowest_is_committed(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0, P1])
        await desk.until_begun(20)
        await desk.end(P0, 0, 1, 3)
        await desk.end(P1, 5)
        await consumer.on_partitions_revoked([])

        assert broker.committed == {P0: 2, P1: 0}


async def test_offsets_are_committed_while_it_runs(
    broker: MemoryConsumer, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sliding, "COMMIT_EVERY_S", 0.0)
    async with running(broker, desk.work):
        await broker.rebalance([P0])
        await desk.until_begun(10)
        await desk.end(P0, *range(10))
        async with asyncio.timeout(PATIENCE_S), broker.happened:
            await broker.happened.wait_for(lambda: broker.committed.get(P0) == 10)


async def test_what_could_not_be_committed_is_committed_later(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0])
        await desk.until_begun(10)
        await desk.end(P0, 0, 1, 2)
        broker.commit_error = KafkaConnectionError("away")
        await consumer.on_partitions_revoked([])
        assert P0 not in broker.committed

        broker.commit_error = None
        await consumer.on_partitions_revoked([])
        assert broker.committed == {P0: 3}


async def test_a_committer_that_breaks_is_told_of(
    broker: MemoryConsumer, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sliding, "COMMIT_EVERY_S", 0.0)
    broken = broker.commit_error = TypeError("not Kafka's")
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0])
        async with asyncio.timeout(PATIENCE_S):
            assert await consumer.failure is broken
        broker.commit_error = None


# -- rebalancing --------------------------------------------------------------------------------------------------


async def test_a_partition_that_stays_keeps_its_window_and_is_not_read_again(
    broker: MemoryConsumer, desk: Desk
) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0, P1])
        await desk.until_begun(20)
        await desk.end(P0, 0, 1, 5)
        await broker.rebalance([P0])
        await _polls(broker, 2)
        assert broker.committed[P0] == 2
        assert (P0, 10) in broker.seeks
        assert len(desk.begun) == 20

        await desk.end(P0, 2, 3, 4)
        await consumer.on_partitions_revoked([])
        assert broker.committed[P0] == 6


async def test_tasks_of_a_lost_partition_end_but_move_no_offset(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0, P1])
        await desk.until_begun(20)
        await desk.end(P1, 0)
        await broker.rebalance([P0])
        await desk.end(P1, *range(1, 10))
        await consumer.on_partitions_revoked([])

        assert broker.committed[P1] == 1
        assert consumer.in_flight == 10
        assert not consumer.failure.done()


async def test_a_partition_that_comes_back_is_read_from_what_was_committed(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work):
        await broker.rebalance([P0])
        await desk.until_begun(10)
        await desk.end(P0, 0, 1, 2)
        await broker.rebalance([P1])
        await broker.rebalance([P0, P1])
        await desk.until_begun(10 + 10 + 7)

        assert desk.begun.count((P0, 3)) == 2
        assert desk.begun.count((P0, 2)) == 1


async def test_the_group_may_have_moved_on_before_the_commit(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0])
        await desk.until_begun(10)
        await desk.end(P0, 0)
        broker.group_has_moved_on = True
        await broker.rebalance([])
        broker.group_has_moved_on = False
        await broker.rebalance([P0])
        await desk.until_begun(20)

        assert not consumer.failure.done()
        assert desk.begun.count((P0, 0)) == 2


async def test_a_partition_lost_and_regained_during_one_poll_loses_nothing(broker: MemoryConsumer, desk: Desk) -> None:
    async def lost_and_regained() -> None:
        await broker.rebalance([])
        await broker.rebalance([P0])

    broker.while_polling = lost_and_regained
    async with running(broker, desk.work):
        await broker.rebalance([P0])
        await desk.until_begun(10)

        assert [offset for _, offset in desk.begun] == list(range(10))


async def test_records_that_come_before_the_listener_is_told_are_fetched_again(
    broker: MemoryConsumer, desk: Desk
) -> None:
    async def assigned_but_not_told() -> None:
        await broker.revoke()
        broker.take([P0])

    async with running(broker, desk.work):
        broker.while_polling = assigned_but_not_told
        await broker.rebalance([P0])
        await _polls(broker, 3)
        assert desk.begun == []

        await broker.announce()
        await desk.until_begun(10)


# -- ending -------------------------------------------------------------------------------------------------------


async def test_a_record_that_cannot_be_carried_on_ends_the_consumer_and_is_not_committed_over(
    broker: MemoryConsumer, desk: Desk
) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0])
        await desk.until_begun(10)
        error = RuntimeError("a bug")
        await desk.end(P0, 0)
        await desk.end(P0, 1, error=error)
        await desk.end(P0, *range(2, 10))

        assert consumer.failure.result() is error
        await consumer.on_partitions_revoked([])
        assert broker.committed == {P0: 1}


async def test_draining_waits_for_what_is_in_work_and_commits_it(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0])
        await desk.until_begun(10)
        draining = asyncio.create_task(consumer.drain(PATIENCE_S))
        await _settle()
        assert not draining.done()

        await desk.end(P0, *range(10))
        assert await draining == 0
        assert broker.committed == {P0: 10}


async def test_what_does_not_end_in_time_is_cut_off_and_not_committed(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0])
        await desk.until_begun(10)
        await desk.end(P0, *range(8))

        assert await consumer.drain(0) == 2
        assert broker.committed == {P0: 8}
        assert consumer.in_flight == 0
        assert not consumer.failure.done()


async def test_a_draining_consumer_polls_on_but_takes_nothing(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([])
        await consumer.drain(0)
        await broker.rebalance([P0])
        await _polls(broker, 2)

        assert P0 not in broker.polls[-1]
        assert desk.begun == []


async def test_records_fetched_while_draining_begins_are_not_taken(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:

        async def drain() -> None:
            assert await consumer.drain(0) == 0

        broker.while_polling = drain
        await broker.rebalance([P0])
        await _polls(broker, 2)

        assert desk.begun == []
        assert P0 not in broker.committed
