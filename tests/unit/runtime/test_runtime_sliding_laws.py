"""Laws of the sliding window, over any interleaving of polls, completions, commits and rebalances.

Nothing is lost: every message is carried to its end by somebody. Nothing is committed over: below a committed offset
everything is done. The work in hand never exceeds what is allowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from runtime_memory_consumer import MemoryConsumer, Record

from services.runtime import sliding
from services.runtime.sliding import SlidingConsumer
from services.runtime.telemetry import Telemetry

PARTITIONS = [TopicPartition("routed", number) for number in range(3)]
MAX_IN_FLIGHT = 5
TELEMETRY = Telemetry("test")

logs = st.lists(st.integers(0, 30), max_size=12, unique=True).map(sorted)
some_partitions = st.frozensets(st.sampled_from(PARTITIONS))
steps = st.one_of(
    st.just(("poll",)),
    st.tuples(st.just("end"), st.integers(0, 100)),
    st.just(("commit",)),
    st.tuples(st.just("rebalance"), some_partitions),
    st.tuples(st.just("rebalances in a poll"), st.lists(some_partitions, min_size=1, max_size=3)),
    st.tuples(st.just("assigned, told late"), some_partitions),
    st.tuples(st.just("others go on"), st.sampled_from(PARTITIONS), st.integers(1, 5)),
    st.tuples(st.just("commits fail"), st.booleans()),
)


class Group:
    """One sliding consumer, the rest of its group, and who has done what."""

    def __init__(self, log: dict[TopicPartition, list[int]]) -> None:
        self.broker = MemoryConsumer(log)
        self.consumer = SlidingConsumer(self._work, max_in_flight=MAX_IN_FLIGHT, telemetry=TELEMETRY)
        self.consumer.attach(self.broker)
        self.broker.listen(self.consumer)
        self.done: set[tuple[TopicPartition, int]] = set()
        self.in_work: list[tuple[TopicPartition, int, asyncio.Future[None]]] = []

    async def _work(self, record: Record) -> None:
        end = asyncio.get_running_loop().create_future()
        partition = TopicPartition(record.topic, record.partition)
        self.in_work.append((partition, record.offset, end))
        await end
        self.done.add((partition, record.offset))

    async def take(self, step: tuple[object, ...]) -> None:
        """Let one thing happen."""
        match step:
            case ("poll",):
                await self.consumer._poll(self.broker)
            case ("end", int(number)) if self.in_work:
                self.in_work.pop(number % len(self.in_work))[2].set_result(None)
            case ("commit",):
                await self.consumer._commit()
            case ("rebalance", frozenset(partitions)):
                await self.broker.rebalance(partitions)
            case ("rebalances in a poll", list(assignments)):
                self.broker.while_polling = lambda: self._rebalances(assignments)
                await self.consumer._poll(self.broker)
            case ("assigned, told late", frozenset(partitions)):
                self.broker.while_polling = lambda: self._half_a_rebalance(partitions)
                await self.consumer._poll(self.broker)
                await self.broker.announce()
            case ("others go on", TopicPartition() as partition, int(count)):
                self._others_go_on(partition, count)
            case ("commits fail", bool(fail)):
                self.broker.group_has_moved_on = fail
        for _ in range(4):
            await asyncio.sleep(0)

    async def _rebalances(self, assignments: list[frozenset[TopicPartition]]) -> None:
        for partitions in assignments:
            await self.broker.rebalance(partitions)

    async def _half_a_rebalance(self, partitions: frozenset[TopicPartition]) -> None:
        await self.broker.revoke()
        self.broker.take(partitions)

    def _others_go_on(self, partition: TopicPartition, count: int) -> None:
        """Somebody else reads a partition that is not ours, from what was committed."""
        if partition in self.broker.assignment():
            return
        start = self.broker.committed.get(partition, 0)
        for offset in [offset for offset in self.broker.log[partition] if offset >= start][:count]:
            self.done.add((partition, offset))
            self.broker.committed[partition] = offset + 1

    def check(self) -> None:
        """Nothing was committed over, and no more is in work than allowed."""
        for partition, committed in self.broker.committed.items():
            below = {(partition, offset) for offset in self.broker.log[partition] if offset < committed}
            assert below <= self.done
        assert self.consumer.in_flight <= MAX_IN_FLIGHT

    async def finish(self) -> None:
        """Give us everything, and let all work end."""
        self.broker.while_polling = None
        await self.take(("commits fail", False))
        await self.take(("rebalance", frozenset(PARTITIONS)))
        everything = sum(len(offsets) for offsets in self.broker.log.values())
        for _ in range(2 * everything + 2):
            await self.take(("poll",))
            while self.in_work:
                await self.take(("end", 0))
        await self.take(("commit",))


@pytest.fixture(autouse=True, scope="module")
def impatient() -> Iterator[None]:
    """An idle poll waits for nothing: the laws do not depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sliding, "POLL_MS", 0)
        patch.setattr(sliding, "PER_PARTITION", 4)
        yield


@given(log=st.fixed_dictionaries(dict.fromkeys(PARTITIONS, logs)), script=st.lists(steps, max_size=40))
@with_settings(max_examples=150)
async def test_nothing_is_lost_and_nothing_committed_over(
    log: dict[TopicPartition, list[int]], script: list[tuple[object, ...]]
) -> None:
    group = Group(log)
    for step in script:
        await group.take(step)
        group.check()

    await group.finish()
    group.check()

    assert group.done == {(partition, offset) for partition, offsets in log.items() for offset in offsets}
    ends = {partition: offsets[-1] + 1 for partition, offsets in log.items() if offsets}
    assert {partition: group.broker.committed.get(partition) for partition in ends} == ends
    assert not group.consumer.failure.done()
