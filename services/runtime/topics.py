"""Bringing topics to what the contracts say: created where missing, widened, reconfigured; never deleted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from schemas.topics import PER_TENANT, TOPICS, Topic
from services.runtime.errors import WaybillError
from services.runtime.kafka import BrokerUnreachableError, client_security
from services.runtime.settings import Settings, TopicOverride
from services.tenancy import Tenants, own_topic

MAX_REPLICATION: Final = 3
VISIBLE_WITHIN_S: Final = 30
_SET_FOR_TOPIC: Final = 1
"""Kafka's number for a setting that was made for one topic, rather than a broker's or a default."""


class TopicsError(WaybillError):
    """A topic could not be brought to what the contracts say."""

    hint = "Nothing is ever deleted: mend the cause and run `waybill topics apply` again."


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs: what is done about which topic."""

    topic: str
    action: str
    detail: str


def wanted(topic: Topic, settings: Settings, brokers: int) -> tuple[str, int, int, dict[str, str]]:
    """Return full name, partitions, replication factor and configuration of a topic on a cluster of so many brokers."""
    # A tenant's own topic is as the shared one beside it, unless it is named itself.
    shared = next((t.name for t in PER_TENANT if topic.name.startswith(own_topic(t.name, ""))), topic.name)
    override = settings.topics.get(topic.name) or settings.topics.get(shared, TopicOverride())
    configs = topic.configs()
    if override.retention_ms:
        configs["retention.ms"] = str(override.retention_ms)
    return (
        settings.topic(topic.name),
        override.partitions or topic.partitions,
        override.replication_factor or min(brokers, MAX_REPLICATION),
        configs,
    )


async def open_admin(settings: Settings) -> AIOKafkaAdminClient:
    """Return a started admin client; raises :class:`BrokerUnreachableError`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers, **client_security(settings))
    try:
        await admin.start()
    except KafkaError as error:
        await admin.close()
        raise BrokerUnreachableError(f"Kafka does not answer: {type(error).__name__}") from error
    return admin


def own_topics(tenants: Tenants) -> list[Topic]:
    """Return the topics that tenants have for themselves, each as the shared one beside it."""
    return [
        replace(topic, name=own_topic(topic.name, tenant))
        for tenant, agreed in tenants.tenants.items()
        if agreed.topics
        for topic in PER_TENANT
    ]


async def apply(settings: Settings, tenants: Tenants | None = None, *, dry_run: bool = False) -> list[Change]:
    """Bring every topic, also the tenants' own, to what is wanted.

    Returns what was changed, or with ``dry_run`` what would be.
    """
    admin = await open_admin(settings)
    try:
        existing = {topic["topic"]: topic for topic in await admin.describe_topics()}
        brokers = len((await admin.describe_cluster())["brokers"])
        changes: list[Change] = []
        for topic in (*TOPICS, *(own_topics(tenants) if tenants else ())):
            changes += await _apply_one(admin, wanted(topic, settings, brokers), existing, dry_run=dry_run)
        if not dry_run:
            await _until_visible(admin, {change.topic for change in changes if change.action == "create"})
        return changes
    finally:
        await admin.close()


async def _apply_one(
    admin: AIOKafkaAdminClient,
    topic: tuple[str, int, int, dict[str, str]],
    existing: dict[str, Any],
    *,
    dry_run: bool,
) -> list[Change]:
    name, partitions, replication, configs = topic
    if name not in existing:
        if not dry_run:
            await _create(admin, NewTopic(name, partitions, replication, topic_configs=configs))
        return [Change(name, "create", f"{partitions} partitions")]
    changes: list[Change] = []
    have = len(existing[name]["partitions"])
    if have < partitions:
        changes.append(Change(name, "add partitions", f"{have} → {partitions}"))
        if not dry_run:
            await admin.create_partitions({name: NewPartitions(partitions)})
    current, own = await _configs(admin, name)
    different = {key: value for key, value in configs.items() if current.get(key) != value}
    if different:
        changes.append(Change(name, "configure", ", ".join(f"{key}={value}" for key, value in different.items())))
        if not dry_run:
            # Altering replaces all of a topic's own settings, so what an operator set beside ours goes along.
            await _configure(admin, name, own | configs)
    return changes


async def _configure(admin: AIOKafkaAdminClient, name: str, configs: dict[str, str]) -> None:
    for response in await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs)]):
        for code, *_ in response.resources:
            if code:
                raise TopicsError(f"{name} could not be configured: {for_code(code).__name__}")


async def _create(admin: AIOKafkaAdminClient, topic: NewTopic) -> None:
    response = await admin.create_topics([topic])
    for error in response.topic_errors:
        code = error[1]
        if code not in (0, TopicAlreadyExistsError.errno):
            raise TopicsError(f"{topic.name} could not be created: {for_code(code).__name__}")


async def _until_visible(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Wait until the brokers' metadata shows topics just created: it follows the controller with a delay."""
    try:
        async with asyncio.timeout(VISIBLE_WITHIN_S):
            while True:
                if not names - {topic["topic"] for topic in await admin.describe_topics()}:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TopicsError(f"topics created are not visible after {VISIBLE_WITHIN_S} s") from None


async def _configs(admin: AIOKafkaAdminClient, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return a topic's settings as they count, and those of them that were set for this topic."""
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name, None)])
    entries = [entry for response in responses for *_, found in response.resources for entry in found]
    current = {key: value for key, value, *_ in entries}
    return current, {key: value for key, value, _, source, *_ in entries if source == _SET_FOR_TOPIC}
