"""The sliding-window consumer: many messages in work at once, offsets committed behind the slowest.

States: closed, open, draining, closed again. What the broker decides: which partitions are ours. On revoke the gate
closes and changed bases are committed; tasks go on. On assign, windows of partitions that stayed are kept and the
consumer seeks behind them; the others are dropped, so that their old tasks can no longer move offsets. So is the window
of a partition whose log begins anew.
How it fails: a task that outlives its partition appends idempotently; the record's fence decides who owned it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.telemetry import Telemetry, describe
from services.runtime.window import Slot, Window

POLL_MS: Final = 100
COMMIT_EVERY_S: Final = 1.0
PER_PARTITION: Final = 2_000
"""How far a window may run ahead of its head and still be polled: with one poll more, of at most
:data:`PER_POLL`, the most that is started again when its owner dies."""
PER_POLL: Final = 500


class ConsumerPort(Protocol):
    """What the window needs of a consumer; aiokafka's has it, and tests have a fake."""

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that are ours."""

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        """Return fetched records of the partitions named."""

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Commit offsets."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Fetch on from an offset."""


# Polling it keeps the group membership alive and returns nothing.
_DUMMY: Final = TopicPartition("waybill-no-such-topic", 0)


class SlidingConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Drives one consumer: opens slots, starts work, commits what is done."""

    def __init__(
        self,
        work: Callable[[ConsumerRecord[bytes, bytes]], Awaitable[None]],
        *,
        max_in_flight: int,
        telemetry: Telemetry,
    ) -> None:
        """``work`` carries one record to its end; its exceptions end the consumer, for the record is then nowhere."""
        self._work = work
        self._max_in_flight = max_in_flight
        self._telemetry = telemetry
        self._windows: dict[TopicPartition, Window] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self._gate_open = False
        self._stopping = asyncio.Event()
        self._room = asyncio.Event()
        self._consumer: ConsumerPort | None = None
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.last_poll = time.monotonic()

    @property
    def in_flight(self) -> int:
        """How many records are in work."""
        return len(self._tasks)

    def attach(self, consumer: ConsumerPort) -> None:
        """Use a started consumer."""
        self._consumer = consumer

    # -- rebalancing ----------------------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Close the gate and commit what is done; running tasks are left alone."""
        self._gate_open = False
        await self._commit()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Keep the windows that stayed, drop the others, open the gate. Nothing may await here."""
        ours = set(assigned)
        self._windows = {partition: window for partition, window in self._windows.items() if partition in ours}
        self._committed = {partition: base for partition, base in self._committed.items() if partition in ours}
        if self._consumer is not None:
            for partition, window in self._windows.items():
                if window.next_offset is not None:
                    self._consumer.seek(partition, window.next_offset)
        self._gate_open = True
        self._room.set()

    # -- running --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Consume until :meth:`drain`; then keep the membership alive until cancelled."""
        assert self._consumer is not None, "attach a consumer first"
        committer = asyncio.create_task(self._commit_regularly())
        committer.add_done_callback(self._committer_ended)
        try:
            while True:
                await self._poll(self._consumer)
        finally:
            committer.cancel()

    async def _poll(self, consumer: ConsumerPort) -> None:
        room = self._max_in_flight - len(self._tasks)
        partitions: list[TopicPartition] = []
        if self._gate_open and room > 0 and not self._stopping.is_set():
            for partition in consumer.assignment():
                if len(self._windows.setdefault(partition, Window())) < PER_PARTITION:
                    partitions.append(partition)
        if not partitions:
            # Named partitions are polled, never all of them: `pause` would throw prefetched records away.
            self._room.clear()
            await consumer.getmany(_DUMMY, timeout_ms=0)
            self.last_poll = time.monotonic()
            try:
                async with asyncio.timeout(POLL_MS / 1000):
                    await self._room.wait()
            except TimeoutError:
                return
            return
        try:
            fetched = await consumer.getmany(*partitions, timeout_ms=POLL_MS, max_records=min(room, PER_POLL))
        except IllegalStateError:
            return  # a partition was revoked between the look and the poll
        self.last_poll = time.monotonic()
        if self._stopping.is_set():
            return  # what was fetched meanwhile comes again to whoever owns its partition next
        for partition, records in fetched.items():
            if not self._gate_open:
                self._put_back(consumer, partition, records[0].offset)
                continue
            # The window may be gone: a partition can be lost and come back while one poll waits.
            window = self._windows.setdefault(partition, Window())
            if not window.follows(records[0].offset):
                self._begin_anew(consumer, partition, records[0].offset)
                continue
            for record in records:
                slot = window.open(record.offset)
                if slot is not None:
                    self._start(window, slot, record)

    def _begin_anew(self, consumer: ConsumerPort, partition: TopicPartition, offset: int) -> None:
        """Read a partition whose log went back, in a window of its own: tasks of the old one move no offset any more.

        Within an assignment offsets only ever grow, unless the topic was made again or its log was cut. Whatever else
        it may be, reading on from there without a gap is at worst work twice, which the record's fence makes harmless.
        """
        self._telemetry.log.warning("a partition begins anew", topic=partition.topic, partition=partition.partition)
        del self._windows[partition]
        self._put_back(consumer, partition, offset)

    @staticmethod
    def _put_back(consumer: ConsumerPort, partition: TopicPartition, offset: int) -> None:
        """Have records that were never opened fetched again."""
        try:
            consumer.seek(partition, offset)
        except IllegalStateError:
            return  # no longer ours: its new owner fetches from the committed offset

    def _start(self, window: Window, slot: Slot, record: ConsumerRecord[bytes, bytes]) -> None:
        task = asyncio.create_task(self._carry(window, slot, record))
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def _carry(self, window: Window, slot: Slot, record: ConsumerRecord[bytes, bytes]) -> None:
        await self._work(record)
        window.finish(slot)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.set()
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self.failure.done():
            self._telemetry.log.error("a record could not be carried on", error=describe(error))
            self.failure.set_result(error)

    # -- committing -----------------------------------------------------------------------------------------------

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            await self._commit()

    def _committer_ended(self, committer: asyncio.Task[None]) -> None:
        if not committer.cancelled() and (error := committer.exception()) is not None and not self.failure.done():
            self._telemetry.log.error("offsets are no longer committed", error=describe(error))
            self.failure.set_result(error)

    async def _commit(self) -> None:
        async with self._lock:
            changed = {
                partition: window.base
                for partition, window in self._windows.items()
                if window.base is not None and self._committed.get(partition) != window.base
            }
            if not changed or self._consumer is None:
                return
            try:
                await self._consumer.commit(changed)
            except (CommitFailedError, IllegalStateError) as error:
                # The group has moved on; the new owner starts from the last commit, and the fence makes that harmless.
                self._telemetry.log.info("commit refused, the group has moved on", error=type(error).__name__)
                return
            except KafkaError as error:
                self._telemetry.log.warning("commit failed, will be tried again", error=type(error).__name__)
                return
            self._committed.update(changed)
            reach(FaultPoint.EXECUTOR_OFFSETS_COMMITTED)

    # -- stopping -------------------------------------------------------------------------------------------------

    async def drain(self, timeout_s: float) -> int:
        """Stop fetching, wait for tasks in work, cancel what is left, commit; returns how many were cancelled."""
        self._stopping.set()
        self._room.set()
        left: set[asyncio.Task[None]] = set()
        if self._tasks:
            _, left = await asyncio.wait(set(self._tasks), timeout=timeout_s)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        await self._commit()
        return len(left)
