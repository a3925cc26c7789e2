"""Micro-batch consumers: poll; compute; one transaction; produce, await acks; commit offsets.

States of a batch: polled, stored, produced, committed. The offsets are committed by FastStream after the handler has
returned, so whatever a crash interrupts is delivered again, and the stage's idempotent appends make that harmless.
How it fails: a transient error backs off and gives the batch back; a row that the database refuses is isolated; a
message that cannot be read becomes a dead letter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeVar

from aiokafka import ConsumerRecord
from faststream import AckPolicy

from schemas.codes import ErrorCode
from schemas.dead_letter import dead_letter_headers
from schemas.topics import DEAD_LETTER, KIB
from services.runtime.errors import WaybillError
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.faults import blames_an_item
from services.runtime.host import Host
from services.runtime.kafka import (
    FETCH_MAX_WAIT_MS,
    FETCH_MIN_BYTES,
    REBALANCE_TIMEOUT_MS,
    Outgoing,
    ProducerBrokenError,
)
from services.runtime.settings import Settings
from services.runtime.slices import MAX_RECORDS, halving, slices
from services.runtime.telemetry import describe

READ_IN_THREAD_FROM: Final = 256 * KIB
"""Bytes of a slice above which it is read in a thread: the group's heartbeat lives on the event loop."""
BACKOFF_S: Final = (0.25, 0.5, 1.0, 2.0, 5.0)

T = TypeVar("T")


class UnreadableError(WaybillError):
    """A message cannot be read; no record can be made of it."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        """Take a code and a reason from a fixed list; neither ever holds a value of the message."""
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Stage(Protocol[T]):
    """What a micro-batch stage does, apart from consuming."""

    def read(self, record: ConsumerRecord[bytes, bytes]) -> T:
        """Return the record's message; raises :class:`UnreadableError`."""

    async def run(self, items: Sequence[T]) -> Sequence[Outgoing]:
        """Work on one slice in one transaction, and return what it calls for, also for what was stored before."""

    async def poisoned(self, item: T, error: BaseException) -> Sequence[Outgoing]:
        """Return what to send for the one item that the database refuses."""


def dead_letter(settings: Settings, record: ConsumerRecord[bytes, bytes], code: ErrorCode, reason: str) -> Outgoing:
    """Return a message that keeps a record's key, bytes and headers, and says where from and why."""
    headers = dead_letter_headers(
        record.headers,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        code=code,
        reason=reason,
    )
    return Outgoing(settings.topic(DEAD_LETTER.name), record.key, record.value, headers)


def refusal_of(host: Host, record: ConsumerRecord[bytes, bytes], code: ErrorCode, reason: str) -> Outgoing:
    """Return the dead letter of a message that is refused, logged without content."""
    host.telemetry.log.warning(
        "dead letter",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        code=str(code),
        reason=reason,
    )
    return dead_letter(host.settings, record, code, reason)


class MicroBatch:
    """Feeds one stage from its topics."""

    def __init__(self, stage: Stage[Any], host: Host, part: str | None = None) -> None:
        """Join a stage with the host whose broker it consumes and whose producer it uses.

        ``part`` names one of several stages of a service: it has a consumer group and fault points of its own.
        """
        self._stage = stage
        self._host = host
        self._settings = host.settings
        self._telemetry = host.telemetry
        self._failures = 0
        self._group = host.settings.group(host.service if part is None else f"{host.service}-{part}")
        prefix = f"{host.service}." if part is None else f"{host.service}.{part}_"
        polled, stored, produced = (FaultPoint(prefix + name) for name in ("polled", "stored", "produced"))
        self._polled, self._stored, self._produced = polled, stored, produced
        self._subscriber: Any = None
        self.last_poll = time.monotonic()

    def subscribe(
        self, topics: Sequence[str] = (), *, pattern: str | None = None, committed_only: bool = False
    ) -> None:
        """Register the consumer with the broker: for topics, or for all whose names match a pattern, present or not."""
        self._subscriber = self._host.broker.subscriber(
            *topics,
            pattern=pattern,
            group_id=self._group,
            batch=True,
            max_records=MAX_RECORDS,
            batch_timeout_ms=20,
            fetch_min_bytes=FETCH_MIN_BYTES,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            no_reply=True,
            ack_policy=AckPolicy.NACK_ON_ERROR,
            auto_offset_reset="earliest",
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            isolation_level="read_committed" if committed_only else "read_uncommitted",
        )
        self._subscriber(self.handle)

    def watch(self) -> None:
        """Note every poll of the started consumer: one that silently stopped polling has to show as not alive."""
        consumer = self._subscriber.consumer
        getmany = consumer.getmany

        async def noted(*partitions: Any, **options: Any) -> Any:
            self.last_poll = time.monotonic()
            return await getmany(*partitions, **options)

        consumer.getmany = noted

    async def handle(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Carry one polled batch to the point where its offsets may be committed."""
        began = time.perf_counter()
        reach(self._polled)
        try:
            for part in slices(records, lambda record: len(record.value or b"")):
                await self._slice(part)
        except Exception as error:
            self._telemetry.batch_failed(error)
            if isinstance(error, ProducerBrokenError):
                self._host.fail(error)
            await asyncio.sleep(BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)])
            self._failures += 1
            raise
        self._failures = 0
        self._telemetry.batch_done(len(records), time.perf_counter() - began)

    async def _slice(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        if sum(len(record.value or b"") for record in records) > READ_IN_THREAD_FROM:
            items, outgoing = await asyncio.to_thread(self._read, records)
        else:
            items, outgoing = self._read(records)
        if items:
            outgoing += await halving(items, self._stage.run, blames=blames_an_item, poisoned=self._poisoned)
        reach(self._stored)
        await self._host.producer.send(outgoing)
        reach(self._produced)

    def _read(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> tuple[list[Any], list[Outgoing]]:
        """Return the messages of a slice, and dead letters for what cannot be read."""
        items: list[Any] = []
        outgoing: list[Outgoing] = []
        for record in records:
            try:
                items.append(self._stage.read(record))
            except UnreadableError as error:
                outgoing.append(self._dead_letter(record, error.code, error.reason))
            except Exception as error:
                self._telemetry.log.error("reading a message failed", error=describe(error))
                outgoing.append(self._dead_letter(record, ErrorCode.INTERNAL, "reading this message failed"))
        return items, outgoing

    def _dead_letter(self, record: ConsumerRecord[bytes, bytes], code: ErrorCode, reason: str) -> Outgoing:
        self._telemetry.log.warning(
            "dead letter", topic=record.topic, partition=record.partition, offset=record.offset, code=str(code)
        )
        return dead_letter(self._settings, record, code, reason)

    async def _poisoned(self, item: Any, error: BaseException) -> Sequence[Outgoing]:
        self._telemetry.log.error("poison item isolated", error=describe(error))
        return await self._stage.poisoned(item, error)
