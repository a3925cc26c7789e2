"""Kafka: the broker of a service, its producer, and what it sends.

FastStream owns consumers and their lifecycle; producing goes through one idempotent aiokafka producer, because a batch
of sends whose futures are gathered costs a fraction of awaited publishes. How it fails: a send that is not acknowledged
within :data:`ACK_TIMEOUT_S`, or a broken producer sequence, ends the process; what was not committed comes again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple
from zlib import crc32

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaConnectionError, KafkaError, OutOfOrderSequenceNumber, ProducerFenced
from aiokafka.partitioner import DefaultPartitioner
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from schemas.topics import MIB
from services.runtime import closed_transport
from services.runtime.errors import WaybillError
from services.runtime.settings import Settings

closed_transport.mend()

ACK_TIMEOUT_S: Final = 120
MAX_REQUEST_BYTES: Final = 25 * MIB
REBALANCE_TIMEOUT_MS: Final = 60_000
GRACEFUL_TIMEOUT_S: Final = 60.0
METADATA_MAX_AGE_MS: Final = 2_000
"""So long a topic that was made for a tenant, or deleted and made again, goes unnoticed."""
FETCH_MIN_BYTES: Final = 128 * 1024
FETCH_MAX_WAIT_MS: Final = 50
"""The broker gathers this many bytes, or waits so long, before it answers a fetch. Jobs can wait, and answering each
trickle at once cost the broker and every consumer more than the work on the messages."""


class BrokerUnreachableError(WaybillError):
    """Kafka does not answer."""

    hint = "Check KAFKA_BOOTSTRAP_SERVERS and that the broker runs; `waybill up` starts an embedded one."


class ProducerBrokenError(WaybillError):
    """The producer cannot go on; the process ends, and what was not committed comes again."""

    hint = "The supervisor starts the service again; if it repeats, look at the broker."


class Outgoing(NamedTuple):
    """One message to send; ``topic`` is a full name."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context that the settings ask for; None without TLS."""
    if not settings.kafka_security_protocol.endswith("SSL"):
        return None
    context = ssl.create_default_context(cafile=settings.kafka_ssl_cafile)
    if settings.kafka_ssl_certfile:
        context.load_cert_chain(settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
    return context


def client_security(settings: Settings) -> dict[str, Any]:
    """Return the security arguments of an aiokafka client."""
    arguments: dict[str, Any] = {
        "security_protocol": settings.kafka_security_protocol,
        "ssl_context": ssl_context(settings),
    }
    if settings.kafka_security_protocol.startswith("SASL") and settings.kafka_sasl_password:
        arguments |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": settings.kafka_sasl_password.get_secret_value(),
        }
    return arguments


def _broker_security(settings: Settings) -> BaseSecurity | None:
    context = ssl_context(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        kind = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
        password = settings.kafka_sasl_password.get_secret_value() if settings.kafka_sasl_password else ""
        return kind[settings.kafka_sasl_mechanism](
            settings.kafka_sasl_username or "", password, ssl_context=context, use_ssl=context is not None
        )
    return BaseSecurity(ssl_context=context, use_ssl=True) if context else None


async def _unparsed(
    raw: Sequence[ConsumerRecord[bytes, bytes]],
    parse: Callable[[Sequence[ConsumerRecord[bytes, bytes]]], Awaitable[KafkaMessage]],
) -> KafkaMessage:
    """Wrap a polled batch without looking into it.

    FastStream decodes headers as UTF-8 before it calls a handler, and an exception there is swallowed: one message with
    other bytes in a header would silently take its whole batch along.
    """
    message: KafkaMessage = await parse([replace(record, headers=()) for record in (raw[0], raw[-1])])
    message.raw_message = raw
    return message


def _raw(message: KafkaMessage) -> Any:
    return message.raw_message


def make_broker(settings: Settings, service: str) -> KafkaBroker:
    """Return the FastStream broker of a service: raw records, no type magic, no logging of what a message holds."""
    return KafkaBroker(
        settings.kafka_bootstrap_servers,
        client_id=f"waybill-{service}",
        security=_broker_security(settings),
        apply_types=False,
        parser=_unparsed,
        decoder=_raw,
        allow_auto_create_topics=False,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        graceful_timeout=GRACEFUL_TIMEOUT_S,
        # Its log lines carry exception texts, and a database's exception text may carry a row.
        logger=None,
    )


Partitioner = Callable[[bytes | None, list[int], list[int]], int]


def by_record(key: bytes | None, partitions: list[int], available: list[int]) -> int:
    """Choose a partition by a checksum of the key: what services send one another needs no other client's choice.

    aiokafka's own, Java's murmur2 in Python, costs 60 times as much; clients and commands keep that one, for a cancel
    has to follow its job.
    """
    return partitions[crc32(key or b"") % len(partitions)]


class Producer:
    """Sends messages; every send is acknowledged by all in-sync replicas."""

    def __init__(self, settings: Settings, service: str, *, partitioner: Partitioner | None = None) -> None:
        """Describe the producer; :meth:`start` connects it. Without a partitioner, Kafka's usual one chooses."""
        self._settings = settings
        self._partitioner = partitioner or DefaultPartitioner()
        self._client_id = f"waybill-{service}"
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect; raises :class:`BrokerUnreachableError`."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=512 * 1024,
            max_request_size=MAX_REQUEST_BYTES,
            partitioner=self._partitioner,
            **client_security(self._settings),
        )
        try:
            await producer.start()
        except (KafkaConnectionError, KafkaError) as error:
            await producer.stop()
            raise BrokerUnreachableError(f"Kafka does not answer: {type(error).__name__}") from error
        self._producer = producer

    async def stop(self) -> None:
        """Flush and close."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def send(self, messages: Iterable[Outgoing]) -> None:
        """Send all and wait for every acknowledgement; raises :class:`ProducerBrokenError`, after which exit."""
        assert self._producer is not None, "start the producer first"
        try:
            async with asyncio.timeout(ACK_TIMEOUT_S):
                futures = [
                    await self._producer.send(
                        message.topic, key=message.key, value=message.value, headers=list(message.headers)
                    )
                    for message in messages
                ]
                for future in futures:
                    await future
        except (OutOfOrderSequenceNumber, ProducerFenced, TimeoutError) as error:
            raise ProducerBrokenError(f"the producer cannot go on: {type(error).__name__}") from error
