"""A Kafka broker in memory: topics, and consumer groups with the classic protocol, eager as aiokafka speaks it.

States of a group: empty, stable, joining. A member that joins, leaves or falls silent for a session makes it joining:
every member is told, hands its partitions back, and joins again; the group is stable when all have, or when the
rebalance timeout has shut the others out. What the broker decides: who owns a partition, and by the generation whose
commit counts. What it does not model: replication, transactions, and heartbeats one by one — a member misses them
exactly while its process stands still, so :meth:`Group.silence` says when that begins.
How it fails: as the world says, between every request and its answer (``Traffic``), and by losing what it had
(:meth:`Partition.truncate`, :meth:`Group.reset`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import Context
from typing import Final, TypeAlias
from zlib import crc32

from aiokafka import ConsumerRecord, TopicPartition

Record: TypeAlias = "ConsumerRecord[bytes, bytes]"
Headers: TypeAlias = Sequence[tuple[str, bytes]]


class Partitions(frozenset[TopicPartition]):
    """A set of partitions in the same order in every run: the hash of a topic's name is another in each process."""

    def __iter__(self) -> Iterator[TopicPartition]:
        return iter(sorted(super().__iter__()))


class Partition:
    """The log of one partition, and who waits for it."""

    def __init__(self, name: TopicPartition) -> None:
        self.name = name
        self.start = 0
        self.records: list[Record] = []
        self.readers: list[Callable[[], None]] = []

    @property
    def end(self) -> int:
        """The offset that the next record will get."""
        return self.start + len(self.records)

    def append(self, key: bytes | None, value: bytes | None, headers: Headers, timestamp_ms: int) -> int:
        """Store a record, tell the readers, and return its offset."""
        record: Record = ConsumerRecord(
            topic=self.name.topic,
            partition=self.name.partition,
            offset=self.end,
            timestamp=timestamp_ms,
            timestamp_type=0,
            key=key,
            value=value,
            checksum=None,
            serialized_key_size=-1 if key is None else len(key),
            serialized_value_size=-1 if value is None else len(value),
            headers=tuple(headers),
        )
        self.records.append(record)
        for tell in self.readers:
            tell()
        return self.end - 1

    def read(self, offset: int, most: int) -> list[Record]:
        """Return records from an offset on; from the start where the log begins only after it."""
        first = max(offset, self.start) - self.start
        return self.records[first : first + most]

    def truncate(self, before: int) -> int:
        """Lose every record before an offset, read or not, and return how many those were."""
        lost = max(0, min(before, self.end) - self.start)
        del self.records[:lost]
        self.start += lost
        return lost


class Member:
    """One member of a group, as the broker knows it."""

    def __init__(self, number: int, disturbed: Callable[[], None]) -> None:
        self.number: Final = number
        self.disturbed: Final = disturbed
        """Called when the member has to join again, with the group or as a new member."""
        self.joining: asyncio.Future[Assignment] | None = None
        self.expiry: asyncio.TimerHandle | None = None


Assignment: TypeAlias = "tuple[int, Partitions]"
"""A generation, and the partitions that one member has in it."""


class Group:
    """One consumer group."""

    def __init__(self, broker: Broker, name: str, topics: Sequence[str]) -> None:
        self.name: Final = name
        self.committed: dict[TopicPartition, int] = {}
        self.generation = 0
        self._broker = broker
        self._topics = topics
        self._members: list[Member] = []
        self._is_joining = False
        self._limit: asyncio.TimerHandle | None = None

    def join(self, member: Member) -> asyncio.Future[Assignment]:
        """Join, or join again; the future is resolved when all members have."""
        if member not in self._members:
            self._members.append(member)
        self._rebalance(but=member)
        member.joining = asyncio.get_running_loop().create_future()
        self._complete_if_all_joined()
        return member.joining

    def leave(self, member: Member) -> None:
        """Leave, or be thrown out."""
        self.speak(member)
        if member in self._members:
            self._members.remove(member)
            if self._members:
                self._rebalance()
                self._complete_if_all_joined()

    def silence(self, member: Member) -> None:
        """Begin to miss a member's heartbeats: its process stands still, or is gone."""
        if member.expiry is None:
            member.expiry = _later(self._broker.session_timeout_s, self._expire, member)

    def speak(self, member: Member) -> None:
        """Hear a member again."""
        if member.expiry is not None:
            member.expiry.cancel()
            member.expiry = None

    def accepts(self, member: Member, generation: int) -> bool:
        """Say whether a commit of this member and generation counts."""
        return member in self._members and generation == self.generation

    def reset(self) -> None:
        """Lose every committed offset, and have the members begin from the start of the log."""
        self.committed.clear()
        if self._members:
            self._rebalance()

    def _expire(self, member: Member) -> None:
        self.leave(member)
        member.disturbed()

    def _rebalance(self, but: Member | None = None) -> None:
        if self._is_joining:
            return
        self._is_joining = True
        self._limit = _later(self._broker.rebalance_timeout_s, self._shut_out)
        for member in self._members:
            member.joining = None
            if member is not but:
                member.disturbed()

    def _shut_out(self) -> None:
        """The rebalance timeout is over: go on without those who have not joined."""
        late = [member for member in self._members if member.joining is None]
        self._members = [member for member in self._members if member.joining is not None]
        self._complete_if_all_joined()
        for member in late:
            member.disturbed()

    def _complete_if_all_joined(self) -> None:
        if not self._is_joining or any(member.joining is None for member in self._members):
            return
        self._is_joining = False
        if self._limit is not None:
            self._limit.cancel()
        self.generation += 1
        if self._broker.rebalanced is not None:
            self._broker.rebalanced(self)
        partitions = [partition.name for topic in self._topics for partition in self._broker.topics[topic]]
        for place, member in enumerate(self._members):
            shift = place + self.generation
            mine = Partitions(p for i, p in enumerate(partitions) if (i + shift) % len(self._members) == 0)
            if member.joining is not None and not member.joining.done():
                member.joining.set_result((self.generation, mine))


def _later(seconds: float, callback: Callable[..., None], *arguments: object) -> asyncio.TimerHandle:
    """Set a timer of the broker's own: it runs, whatever becomes of the client in whose turn it was set."""
    return asyncio.get_running_loop().call_later(seconds, callback, *arguments, context=Context())


class Broker:
    """The cluster. ``clock_ms`` stamps records whose producer does not."""

    def __init__(
        self, clock_ms: Callable[[], int], *, session_timeout_s: float = 10.0, rebalance_timeout_s: float = 60.0
    ) -> None:
        self.topics: dict[str, list[Partition]] = {}
        self.groups: dict[str, Group] = {}
        self.clock_ms: Final = clock_ms
        self.rebalanced: Callable[[Group], None] | None = None
        """Told of every new generation."""
        self.session_timeout_s: Final = session_timeout_s
        self.rebalance_timeout_s: Final = rebalance_timeout_s
        self._members = 0

    def create_topic(self, name: str, partitions: int) -> None:
        """Make an empty topic."""
        self.topics[name] = [Partition(TopicPartition(name, number)) for number in range(partitions)]

    def group(self, name: str, topics: Sequence[str]) -> Group:
        """Return a group, made at its first use."""
        return self.groups.setdefault(name, Group(self, name, topics))

    def new_member(self, disturbed: Callable[[], None]) -> Member:
        """Return somebody who may join a group."""
        self._members += 1
        return Member(self._members, disturbed)

    def partition(self, name: TopicPartition) -> Partition:
        """Return a partition's log; raises ``LookupError`` where there is none."""
        number: int = name.partition
        return self.topics[name.topic][number]

    def partition_for(self, topic: str, key: bytes | None) -> Partition:
        """Return the partition of a key."""
        partitions = self.topics[topic]
        return partitions[crc32(key or b"") % len(partitions)]

    def everything_in(self, topic: str) -> list[Record]:
        """Return every record that a topic still has."""
        return [record for partition in self.topics[topic] for record in partition.records]

    def waiting(self, group: str) -> Mapping[TopicPartition, int]:
        """Return how many records each partition of a group's topics has that the group has not committed."""
        found = self.groups[group]
        return {
            partition.name: partition.end - max(partition.start, found.committed.get(partition.name, 0))
            for topic in found._topics
            for partition in self.topics[topic]
        }
