"""The sliding-window consumer over rebalances: what stays, what is lost, and what comes back."""

from __future__ import annotations

from runtime_memory_consumer import MemoryConsumer
from runtime_sliding_desk import P0, P1, Desk, polls, running


async def test_a_partition_that_stays_keeps_its_window_and_is_not_read_again(
    broker: MemoryConsumer, desk: Desk
) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0, P1])
        await desk.until_begun(20)
        await desk.end(P0, 0, 1, 5)
        await broker.rebalance([P0])
        await polls(broker, 2)
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
        await polls(broker, 3)
        assert desk.begun == []

        await broker.announce()
        await desk.until_begun(10)


async def test_offsets_that_the_group_has_lost_are_committed_again(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0])
        await desk.until_begun(10)
        await desk.end(P0, 0, 1)
        await consumer.on_partitions_revoked([])
        assert broker.committed[P0] == 2

        broker.committed.clear()
        broker.take([P0])
        await broker.announce()
        await consumer.on_partitions_revoked([])

        assert broker.committed[P0] == 2
