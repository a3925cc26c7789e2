"""The sliding-window consumer: polling, backpressure, committing, ending."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError
from runtime_memory_consumer import MemoryConsumer
from runtime_sliding_desk import P0, P1, PATIENCE_S, Desk, polls, running, settle

from services.runtime import sliding

# -- polling ------------------------------------------------------------------------------------------------------


async def test_before_the_first_assignment_only_the_dummy_is_polled(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work):
        await polls(broker, 2)

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
        await polls(broker, 2)
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
        await polls(broker, 2)
        assert broker.polls[-1] == (P1,)
        assert (len(desk.begun), consumer.in_flight) == (4, 1)

        await desk.end(P0, 0)
        await desk.until_begun(8)


async def test_polling_moves_the_sign_of_life(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        consumer.last_poll = 0.0
        await polls(broker, 2)

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
        await settle()
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
        await polls(broker, 2)

        assert P0 not in broker.polls[-1]
        assert desk.begun == []


async def test_records_fetched_while_draining_begins_are_not_taken(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:

        async def drain() -> None:
            assert await consumer.drain(0) == 0

        broker.while_polling = drain
        await broker.rebalance([P0])
        await polls(broker, 2)

        assert desk.begun == []
        assert P0 not in broker.committed
