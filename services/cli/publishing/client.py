"""Publishing to a requests topic, with the position of each message.

One idempotent producer, all acknowledged by every in-sync replica. Unlike a service's producer it wants to know *where*
each message stands, and goes on while acknowledgements are out. How it fails: the first line that is not acknowledged
ends the run; whether lines after it arrived is not known, and publishing the file again settles it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from schemas.topics import KIB
from services.cli.publishing.address import SHARED, Address
from services.cli.publishing.items import Item, Position
from services.runtime.errors import WaybillError
from services.runtime.kafka import MAX_REQUEST_BYTES, BrokerUnreachableError, client_security
from services.runtime.settings import Settings

MAX_IN_FLIGHT: Final = 5_000
LINGER_MS: Final = 5


class TopicMissingError(WaybillError):
    """A topic does not exist."""

    hint = "Run `waybill topics apply`."


class PublishFailedError(WaybillError):
    """Kafka did not acknowledge a line."""

    hint = "Publish the same file again: lines with an idempotency key that arrived already add nothing."


class Publisher:
    """The producer of one run; use it as a context manager."""

    def __init__(self, settings: Settings, address: Address = SHARED) -> None:
        self._topic = settings.topic(address.requests)
        self._address = address
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        """Connect; raises ``BrokerUnreachableError`` or :class:`TopicMissingError`."""
        # Made here, for it belongs to the running loop.
        self._producer = producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers,
            client_id="waybill-publish",
            acks="all",
            enable_idempotence=True,
            linger_ms=LINGER_MS,
            max_batch_size=512 * KIB,
            max_request_size=MAX_REQUEST_BYTES,
            **client_security(self._settings),
        )
        try:
            await producer.start()
            topics = (await producer.client.fetch_all_metadata()).topics()
        except KafkaError as error:
            await producer.stop()
            raise BrokerUnreachableError(f"Kafka does not answer: {type(error).__name__}") from error
        if self._topic not in topics:
            await producer.stop()
            raise TopicMissingError(f"The topic {self._topic} does not exist.")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Send what is left and close."""
        assert self._producer is not None
        await self._producer.stop()

    async def publish(self, items: AsyncIterator[Item], acknowledged: Callable[[Item, Position], None]) -> None:
        """Publish items, and tell of each where it stands as soon as the broker has said so.

        Raises :class:`PublishFailedError`, naming the first line that was not acknowledged.
        """
        pending: deque[tuple[Item, asyncio.Future[Any]]] = deque()
        async for item in items:
            future = await self._send(item)
            # Not when it is awaited below: a pipe may be silent for long, and an interrupt must know what arrived.
            future.add_done_callback(partial(_tell, item, acknowledged))
            pending.append((item, future))
            while pending and (len(pending) >= MAX_IN_FLIGHT or pending[0][1].done()):
                await _check(*pending.popleft())
        while pending:
            await _check(*pending.popleft())

    async def _send(self, item: Item) -> asyncio.Future[Any]:
        assert self._producer is not None
        try:
            future: asyncio.Future[Any] = await self._producer.send(
                self._topic, key=item.kafka_key, value=item.value, headers=self._address.headers(item.value)
            )
        except KafkaError as error:
            raise _failed(item, error) from error
        return future


def _tell(item: Item, acknowledged: Callable[[Item, Position], None], future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and future.exception() is None:
        metadata = future.result()
        acknowledged(item, Position(metadata.topic, metadata.partition, metadata.offset))


async def _check(item: Item, future: asyncio.Future[Any]) -> None:
    try:
        await future
    except KafkaError as error:
        raise _failed(item, error) from error


def _failed(item: Item, error: KafkaError) -> PublishFailedError:
    if isinstance(error, MessageSizeTooLargeError):
        return PublishFailedError(
            f"line {item.line} is larger than the topic takes on this cluster; what follows it is not published",
            hint="Take the line out, or raise the topic's max.message.bytes with `waybill topics apply`.",
        )
    return PublishFailedError(f"line {item.line} was not acknowledged: {type(error).__name__}")
