"""The sliding-window consumer over a log that goes back: a topic made again begins at offset 0 once more."""

from __future__ import annotations

from runtime_memory_consumer import MemoryConsumer
from runtime_sliding_desk import P0, Desk, running


def make_again(broker: MemoryConsumer, count: int) -> None:
    """Put so many messages in the place of the old ones; the position is out of range, and is set to the start."""
    broker.log[P0] = list(range(count))
    broker.seek(P0, 0)


async def test_what_stands_where_others_stood_is_read(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work):
        await broker.rebalance([P0])
        await desk.until_begun(10)
        await desk.end(P0, *range(10))
        make_again(broker, 3)
        await desk.until_begun(13)

        assert [offset for _, offset in desk.begun[10:]] == [0, 1, 2]


async def test_the_old_work_moves_no_offset_of_the_new_log(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0])
        await desk.until_begun(10)
        make_again(broker, 3)
        await desk.until_begun(13)
        await desk.end(P0, 0, 1)
        await desk.end(P0, *range(3, 10))
        await consumer.on_partitions_revoked([])

        assert broker.committed[P0] == 2


async def test_what_was_committed_of_the_old_log_is_taken_back(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work) as consumer:
        await broker.rebalance([P0])
        await desk.until_begun(10)
        await desk.end(P0, *range(10))
        await consumer.on_partitions_revoked([])
        assert broker.committed[P0] == 10
        consumer.on_partitions_assigned([P0])

        make_again(broker, 3)
        await desk.until_begun(13)
        await consumer.on_partitions_revoked([])

        assert broker.committed[P0] == 0


async def test_it_goes_on_behind_the_new_log(broker: MemoryConsumer, desk: Desk) -> None:
    async with running(broker, desk.work):
        await broker.rebalance([P0])
        await desk.until_begun(10)
        make_again(broker, 3)
        await desk.until_begun(13)
        broker.log[P0] += [3, 4]
        await desk.until_begun(15)

        assert [offset for _, offset in desk.begun[10:]] == [0, 1, 2, 3, 4]
