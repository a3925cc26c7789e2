"""`topics apply` on a real cluster: creates, widens, reconfigures, never takes away; and what topics refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError
from support.flow import messages_of
from support.offsets import partitions_of

from schemas.topics import FEEDBACK, MIB, REQUESTS, RESULTS, TOPICS
from services.runtime import topics
from services.runtime.kafka import BrokerUnreachableError
from services.runtime.settings import Settings, TopicOverride
from services.runtime.topics import Change

NAMES = [topic.name for topic in TOPICS]


def overridden(settings: Settings, **overrides: TopicOverride) -> Settings:
    return settings.model_copy(update={"topics": {**settings.topics, **overrides}})


@pytest_asyncio.fixture
async def admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    client = await topics.open_admin(settings)
    yield client
    await client.close()


@pytest_asyncio.fixture
async def bare(settings: Settings, admin: AIOKafkaAdminClient) -> AsyncIterator[Settings]:
    """Settings whose topics do not exist."""
    bare = settings.model_copy(update={"topic_prefix": f"test-{uuid4().hex[:12]}."})
    yield bare
    await admin.delete_topics([bare.topic(name) for name in NAMES])


async def configs(admin: AIOKafkaAdminClient, name: str) -> dict[str, str]:
    [response] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name, None)])
    return {entry[0]: entry[1] for *_, entries in response.resources for entry in entries}


async def existing(admin: AIOKafkaAdminClient, settings: Settings) -> set[str]:
    return {name for name in await admin.list_topics() if name.startswith(settings.topic_prefix)}


async def test_a_dry_run_says_what_would_be_made_and_makes_nothing(bare: Settings, admin: AIOKafkaAdminClient) -> None:
    changes = await topics.apply(bare, dry_run=True)
    assert changes == [Change(bare.topic(name), "create", "2 partitions") for name in NAMES]
    assert await existing(admin, bare) == set()


async def test_topics_are_made_as_the_contracts_say_and_only_once(bare: Settings, admin: AIOKafkaAdminClient) -> None:
    assert await topics.apply(bare) == [Change(bare.topic(name), "create", "2 partitions") for name in NAMES]
    assert await existing(admin, bare) == {bare.topic(name) for name in NAMES}
    for topic in TOPICS:
        found = await configs(admin, bare.topic(topic.name))
        assert {key: found[key] for key in topic.configs()} == topic.configs()
        assert len(await partitions_of(bare, topic)) == 2
    assert await topics.apply(bare) == []
    assert await topics.apply(bare, dry_run=True) == []


async def test_a_topic_is_widened_and_never_narrowed(settings: Settings) -> None:
    wide = overridden(settings, results=TopicOverride(partitions=5))
    change = Change(settings.topic("results"), "add partitions", "2 → 5")
    assert await topics.apply(wide, dry_run=True) == [change]
    assert len(await partitions_of(settings, RESULTS)) == 2
    assert await topics.apply(wide) == [change]
    assert len(await partitions_of(settings, RESULTS)) == 5
    assert await topics.apply(settings) == []
    assert len(await partitions_of(settings, RESULTS)) == 5


async def test_what_differs_is_configured_and_what_is_not_ours_stays(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    name = settings.topic("results")
    theirs = RESULTS.configs() | {"max.message.bytes": "1000", "segment.bytes": str(7 * MIB)}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, theirs)])
    keep = overridden(settings, results=TopicOverride(partitions=2, retention_ms=123_000))
    change = Change(name, "configure", f"retention.ms=123000, max.message.bytes={24 * MIB}")
    assert await topics.apply(keep, dry_run=True) == [change]
    assert (await configs(admin, name))["max.message.bytes"] == "1000"
    assert await topics.apply(keep) == [change]
    found = await configs(admin, name)
    assert (found["retention.ms"], found["max.message.bytes"]) == ("123000", str(24 * MIB))
    assert found["segment.bytes"] == str(7 * MIB), "what an operator set beside ours is not undone"
    assert await topics.apply(keep) == []


async def test_a_setting_that_the_broker_refuses_is_an_error(settings: Settings) -> None:
    hopeless = overridden(settings, results=TopicOverride(partitions=2, replication_factor=1, retention_ms=2**63))
    with pytest.raises(topics.TopicsError, match=r"results could not be configured"):
        await topics.apply(hopeless)


async def test_more_replicas_than_brokers_is_an_error_that_names_the_topic(bare: Settings) -> None:
    with pytest.raises(topics.TopicsError, match=r"requests could not be created: InvalidReplicationFactor"):
        await topics.apply(overridden(bare, requests=TopicOverride(partitions=1, replication_factor=99)))


async def test_a_broker_that_is_not_there_is_an_error_that_says_so(settings: Settings) -> None:
    nobody = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:9"})
    with pytest.raises(BrokerUnreachableError):
        await topics.apply(nobody)


@pytest.mark.parametrize("compression", ["gzip", "lz4", "zstd", "snappy"])
@pytest.mark.parametrize(
    ("topic", "size"), [(REQUESTS, 30 * MIB), (FEEDBACK, MIB)], ids=lambda v: getattr(v, "name", "")
)
async def test_a_compressed_bomb_is_refused_at_publish(
    settings: Settings, compression: str, topic: object, size: int
) -> None:
    """A few kilobytes on the wire, 30 MB in memory: the broker looks at the unpacked size, and refuses."""
    name = settings.topic(topic.name)  # type: ignore[attr-defined]
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        compression_type=compression,
        max_request_size=2 * size,
        max_batch_size=2 * size,
    ) as producer:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(name, bytes(size))
        await producer.send_and_wait(name, bytes(1000))
    assert [len(value) for _, value in await messages_of(settings, topic, 1)] == [1000]  # type: ignore[arg-type]


async def test_a_job_of_the_largest_size_is_accepted(settings: Settings) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, max_request_size=25 * MIB
    ) as producer:
        await producer.send_and_wait(settings.topic(REQUESTS.name), bytes(23 * MIB))
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(settings.topic(REQUESTS.name), bytes(24 * MIB))
