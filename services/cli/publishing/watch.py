"""Reading what becomes of published lines: the results topic, and the dead-letter topic where it may be read.

No consumer group: partitions are assigned and read from where they ended *before* the first line was published, so no
result can be missed, and nothing is left behind on the broker.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas.dead_letter import HEADER_PREFIX
from schemas.topics import DEAD_LETTER, MIB
from services.cli.publishing.address import SHARED, Address
from services.cli.publishing.client import TopicMissingError
from services.cli.publishing.items import Position
from services.runtime.errors import WaybillError
from services.runtime.kafka import BrokerUnreachableError, client_security
from services.runtime.settings import Settings
from services.runtime.topics import open_admin

MAX_RECORDS: Final = 1_000
FETCH_BYTES: Final = 4 * MIB


class WatchFailedError(WaybillError):
    """The results topic could not be read on."""

    hint = "What was published is with Waybill; publish the same file again with --wait to get the results."


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message of which no record could be made: where it stood and why; ``reason`` comes from a fixed list."""

    position: Position
    code: str
    reason: str


class Watch:
    """The consumer of one run; use it as a context manager, entered before anything is published."""

    def __init__(self, settings: Settings, address: Address = SHARED) -> None:
        self._settings = settings
        self._results = settings.topic(address.results)
        self._dead_letters = settings.topic(DEAD_LETTER.name)
        self._consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        """Note where the topics end now; raises ``BrokerUnreachableError`` or ``TopicMissingError``."""
        partitions = await self._partitions()
        self._consumer = consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers,
            client_id="waybill-publish",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
            **client_security(self._settings),
        )
        try:
            await consumer.start()
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        except KafkaError as error:
            await consumer.stop()
            raise BrokerUnreachableError(f"Kafka does not answer: {type(error).__name__}") from error
        consumer.assign(partitions)
        for partition, end in ends.items():
            consumer.seek(partition, end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        assert self._consumer is not None
        await self._consumer.stop()

    async def read(self, seconds: float) -> list[dict[str, Any] | DeadLetter]:
        """Return final results and dead letters that came, after at most ``seconds``; perhaps none.

        Raises :class:`WatchFailedError`.
        """
        assert self._consumer is not None
        try:
            batches = await self._consumer.getmany(timeout_ms=max(0, round(seconds * 1000)), max_records=MAX_RECORDS)
        except KafkaError as error:
            raise WatchFailedError(f"the results could not be read on: {type(error).__name__}") from error
        found = [self._understood(record) for records in batches.values() for record in records]
        return [message for message in found if message is not None]

    async def _partitions(self) -> list[TopicPartition]:
        """Return what to read; who may not see the dead letters waits for the results alone."""
        admin = await open_admin(self._settings)
        try:
            topics = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
        finally:
            await admin.close()
        if self._results not in topics:
            raise TopicMissingError(f"The topic {self._results} does not exist.")
        return [
            TopicPartition(name, partition["partition"])
            for name in (self._results, self._dead_letters)
            for partition in topics.get(name, ())
        ]

    def _understood(self, record: ConsumerRecord[bytes, bytes]) -> dict[str, Any] | DeadLetter | None:
        if record.topic == self._dead_letters:
            return dead_letter(dict(record.headers))
        return final_result(record.value)


def final_result(value: bytes | None) -> dict[str, Any] | None:
    """Return a result as it stands in its message; None for a notice, or for what is no result."""
    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or document.get("event", "final") != "final":
        return None
    return document if isinstance(document.get("status"), str) else None


def dead_letter(headers: dict[str, bytes]) -> DeadLetter | None:
    """Return what the headers of a dead letter say; None where they do not say it."""
    said = {
        name: headers.get(HEADER_PREFIX + name, b"").decode(errors="replace")
        for name in ("topic", "partition", "offset", "code", "reason")
    }
    if not (said["topic"] and said["partition"].isdecimal() and said["offset"].isdecimal()):
        return None
    position = Position(said["topic"], int(said["partition"]), int(said["offset"]))
    return DeadLetter(position, said["code"], said["reason"])
