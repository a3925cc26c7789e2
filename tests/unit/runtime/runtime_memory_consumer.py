"""A consumer and its group in memory, with the behaviours of aiokafka that the sliding window leans on.

Read from aiokafka 0.14: ``getmany`` returns nothing for a named partition that is not assigned, and waits where a
rebalance is under way; records of an earlier assignment are never returned; positions begin at what was committed;
``commit`` and ``seek`` raise ``IllegalStateError`` for a partition that is not assigned; the listener's methods may be
plain or coroutine functions, and are told of all partitions, also of those that stay.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

Record: TypeAlias = "ConsumerRecord[bytes, bytes]"


def record_of(partition: TopicPartition, offset: int, value: bytes | None = b"{}", key: bytes | None = b"k") -> Record:
    """Return a fetched record."""
    record: Record = ConsumerRecord(
        topic=partition.topic,
        partition=partition.partition,
        offset=offset,
        timestamp=1_700_000_000_000,
        timestamp_type=0,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        headers=(("trace", b"1"),),
    )
    return record


class MemoryConsumer:
    """One member of a group over a log in memory."""

    def __init__(self, log: dict[TopicPartition, list[int]]) -> None:
        """Take the offsets of each partition, in order; they may have gaps."""
        self.log = log
        self.committed: dict[TopicPartition, int] = {}
        self.polls: list[tuple[TopicPartition, ...]] = []
        self.seeks: list[tuple[TopicPartition, int]] = []
        self.commit_error: Exception | None = None
        self.group_has_moved_on = False
        self.while_polling: Callable[[], Awaitable[None]] | None = None
        """Runs once, in the middle of the next poll of a named partition."""
        self.happened = asyncio.Condition()
        """Notified at every poll and commit."""
        self._position: dict[TopicPartition, int] = {}
        self._listener: ConsumerRebalanceListener | None = None

    def listen(self, listener: ConsumerRebalanceListener) -> None:
        """Tell ``listener`` of rebalances."""
        self._listener = listener

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that are ours."""
        return frozenset(self._position)

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Record]]:
        """Return what the log has of the named partitions that are ours."""
        assert partitions, "no names would mean all partitions"
        assert max_records is None or max_records >= 1
        self.polls.append(partitions)
        await self._notify()
        if self.while_polling is not None and any(partition in self.log for partition in partitions):
            happens, self.while_polling = self.while_polling, None
            await happens()
        fetched: dict[TopicPartition, list[Record]] = {}
        left = max_records if max_records is not None else 500
        for partition in partitions:
            if left and partition in self._position:
                offsets = [offset for offset in self.log[partition] if offset >= self._position[partition]][:left]
                if offsets:
                    fetched[partition] = [record_of(partition, offset) for offset in offsets]
                    self._position[partition] = offsets[-1] + 1
                    left -= len(offsets)
        await asyncio.sleep(0)
        return fetched

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Commit offsets, unless told to fail."""
        await asyncio.sleep(0)
        if self.commit_error is not None:
            raise self.commit_error
        if self.group_has_moved_on:
            raise CommitFailedError("the group has rebalanced")
        for partition in offsets:
            self._require(partition)
        self.committed.update(offsets)
        await self._notify()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Fetch on from an offset."""
        self._require(partition)
        self.seeks.append((partition, offset))
        self._position[partition] = offset

    # -- what the group does --------------------------------------------------------------------------------------

    async def rebalance(self, partitions: Iterable[TopicPartition]) -> None:
        """Revoke everything, then assign ``partitions``."""
        await self.revoke()
        self.take(partitions)
        await self.announce()

    async def revoke(self) -> None:
        """Begin a rebalance: the old assignment still stands while the listener is told."""
        if self._listener is not None:
            await _awaited(self._listener.on_partitions_revoked(self.assignment()))

    def take(self, partitions: Iterable[TopicPartition]) -> None:
        """Take a new assignment; every position begins at what was committed."""
        self._position = {partition: self.committed.get(partition, 0) for partition in partitions}

    async def announce(self) -> None:
        """Tell the listener of the assignment."""
        if self._listener is not None:
            await _awaited(self._listener.on_partitions_assigned(self.assignment()))

    async def _notify(self) -> None:
        async with self.happened:
            self.happened.notify_all()

    def _require(self, partition: TopicPartition) -> None:
        if partition not in self._position:
            raise IllegalStateError(f"Partition {partition} is not assigned")


async def _awaited(result: object) -> None:
    if inspect.isawaitable(result):
        await result
