"""Carrying records through the stages without a broker: messages go from hand to hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from aiokafka import AIOKafkaConsumer

from schemas.topics import CLASSIFIED, MIB, OUTCOMES, RESULTS, Topic
from services.classifier.stage import ClassifierStage
from services.policy import Policy
from services.recorder.stage import RecorderStage
from services.router.stage import RouterStage
from services.runtime.host import Host
from services.runtime.ids import now
from services.runtime.kafka import Outgoing
from services.runtime.ledger import Entry, read_chains
from services.runtime.settings import Settings
from support.jobs import published, take_in
from support.offsets import partitions_of
from support.servers import OpenHost

BOUND_S = 120


def content(message: Outgoing) -> dict[str, Any]:
    """Return what a message says."""
    parsed: dict[str, Any] = orjson.loads(message.value or b"")
    return parsed


def record_of(message: Outgoing) -> UUID:
    """Return which record a message is about."""
    return UUID(content(message)["record_id"])


def going_to(host: Host, topic: Topic, messages: Sequence[Outgoing]) -> list[Outgoing]:
    """Return those of the messages that go to a topic."""
    return [message for message in messages if message.topic == host.settings.topic(topic.name)]


async def chain_of(host: Host, record_id: UUID) -> list[Entry]:
    """Return the chain of one record as stored."""
    return (await read_chains(host.pool, [record_id]))[record_id]


async def kinds_of(host: Host, record_id: UUID) -> list[str]:
    """Return the kinds of one record's entries."""
    return [entry.kind for entry in await chain_of(host, record_id)]


async def decide(router: RouterStage, messages: Sequence[Outgoing]) -> list[Outgoing]:
    """Carry messages to the router as one slice."""
    return list(await router.run([router.read(published(message.value)) for message in messages]))


async def seal(recorder: RecorderStage, messages: Sequence[Outgoing]) -> None:
    """Carry messages to the recorder as one slice."""
    assert list(await recorder.run([recorder.read(published(message.value)) for message in messages])) == []


class Flow:
    """All stages of one deployment, each on a host with its own rights, with the same clock and the same telemetry.

    ``host`` has all rights: tests look and meddle with it, and write as an executor does.
    """

    def __init__(self, host: Host, services: Mapping[str, Host], policy: Policy) -> None:
        """Wire the stages."""
        self.host = host
        self._services = services
        self.policy = policy
        self.classifier = ClassifierStage(self.at("classifier"), now)
        self.router = RouterStage(self.at("router"), policy, now)
        self.recorder = RecorderStage(self.at("recorder"), now)

    @classmethod
    async def open(cls, host: OpenHost, policy: Policy) -> Flow:
        """Open the hosts and wire the stages."""
        services = {name: await host(name) for name in ("classifier", "router", "recorder")}
        return cls(await host("tests"), services, policy)

    def at(self, service: str) -> Host:
        """Return the host as a service has it: everything is shared but its connections to the database."""
        own = self._services[service]
        return replace(self.host, pool=own.pool, keyring=own.keyring, tenant_keys=own.tenant_keys)

    async def decided(self, document: Mapping[str, Any]) -> tuple[UUID, list[Entry]]:
        """Take in one job and decide it; return its record and chain."""
        messages = await take_in(self.classifier, document)
        await decide(self.router, going_to(self.host, CLASSIFIED, messages))
        record_id = record_of(messages[0])
        return record_id, await chain_of(self.host, record_id)

    async def refused(self, document: Mapping[str, Any]) -> UUID:
        """Take in one job that ends at intake, and seal it; return its record."""
        messages = going_to(self.host, OUTCOMES, await take_in(self.classifier, document))
        assert messages, "the job was not rejected"
        await seal(self.recorder, messages)
        return record_of(messages[0])


async def results(host: Host, count: int) -> list[tuple[UUID, bytes]]:
    """Return all results published so far, at least ``count``, oldest first within a partition."""
    return [(UUID(key.decode()), value) for key, value in await messages_in(host, RESULTS, count)]


async def messages_in(host: Host, topic: Topic, count: int) -> list[tuple[bytes, bytes]]:
    """Return keys and values of everything in a topic; there have to be at least ``count`` messages."""
    return await messages_of(host.settings, topic, count)


async def messages_of(settings: Settings, topic: Topic, count: int) -> list[tuple[bytes, bytes]]:
    """Return what :func:`messages_in` does, by the settings of a deployment."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=25 * MIB,
    )
    async with consumer:
        partitions = await partitions_of(settings, topic)
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[tuple[bytes, bytes]] = []
        async with asyncio.timeout(BOUND_S):
            while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
                for records in (await consumer.getmany(*partitions, timeout_ms=1000)).values():
                    found += [(record.key, record.value) for record in records]
    assert len(found) >= count
    return found


def at(entry: Entry) -> datetime:
    """Return when an entry was recorded, by its body."""
    return datetime.fromisoformat(entry.content()["recorded_at"])
