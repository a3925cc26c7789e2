"""How far a stage has come, asked of a real Kafka: the time of the oldest message that it has not committed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from support.offsets import commit, publish_at, truncate

from schemas.topics import ROUTED_BACKGROUND, ROUTED_BATCH
from services.recorder.progress import stage_progress
from services.runtime.ids import now
from services.runtime.settings import Settings

NOW = now().replace(microsecond=0)


def minutes_ago(minutes: int) -> datetime:
    return NOW - timedelta(minutes=minutes)


async def progress(settings: Settings) -> datetime:
    topics = [settings.topic(topic.name) for topic in (ROUTED_BACKGROUND, ROUTED_BATCH)]
    found = await stage_progress(settings, settings.group("executor"), topics, NOW)
    assert found.tzinfo is UTC
    return found


async def test_empty_topics_have_been_passed(settings: Settings) -> None:
    assert await progress(settings) == NOW


async def test_a_group_that_never_committed_stands_before_the_oldest_message(settings: Settings) -> None:
    await publish_at(settings, ROUTED_BACKGROUND, [(0, minutes_ago(5)), (1, minutes_ago(9)), (1, minutes_ago(1))])
    assert await progress(settings) == minutes_ago(9)


async def test_it_is_the_oldest_over_all_partitions_and_topics(settings: Settings) -> None:
    await publish_at(settings, ROUTED_BACKGROUND, [(0, minutes_ago(9)), (0, minutes_ago(5)), (1, minutes_ago(4))])
    await publish_at(settings, ROUTED_BATCH, [(1, minutes_ago(7)), (1, minutes_ago(3))])
    await commit(settings, "executor", ROUTED_BACKGROUND, {0: 1})
    assert await progress(settings) == minutes_ago(7)
    await commit(settings, "executor", ROUTED_BATCH, {1: 1})
    assert await progress(settings) == minutes_ago(5)
    await commit(settings, "executor", ROUTED_BACKGROUND)
    assert await progress(settings) == minutes_ago(3)


async def test_what_is_committed_to_the_end_has_been_passed(settings: Settings) -> None:
    await publish_at(settings, ROUTED_BACKGROUND, [(0, minutes_ago(5)), (1, minutes_ago(9))])
    await commit(settings, "executor", ROUTED_BACKGROUND)
    await commit(settings, "executor", ROUTED_BATCH)
    assert await progress(settings) == NOW


async def test_another_groups_offsets_do_not_count(settings: Settings) -> None:
    await publish_at(settings, ROUTED_BACKGROUND, [(0, minutes_ago(5))])
    await commit(settings, "router", ROUTED_BACKGROUND)
    assert await progress(settings) == minutes_ago(5)


async def test_what_a_topic_has_lost_is_not_waiting_in_it(settings: Settings) -> None:
    moments = [(0, minutes_ago(9)), (0, minutes_ago(5)), (0, minutes_ago(2)), (1, minutes_ago(8))]
    await publish_at(settings, ROUTED_BACKGROUND, moments)
    await truncate(settings, ROUTED_BACKGROUND, {0: 2, 1: 1})
    assert await progress(settings) == minutes_ago(2), "never committed: it begins where the log does"
    await commit(settings, "executor", ROUTED_BACKGROUND, {0: 1, 1: 0})
    assert await progress(settings) == minutes_ago(2), "committed before the log's start"
    await truncate(settings, ROUTED_BACKGROUND, {0: 3})
    assert await progress(settings) == NOW, "everything is lost"


async def test_the_marker_of_a_transaction_is_not_waiting(settings: Settings) -> None:
    """An operator's tool may write in transactions; its markers take offsets, and nobody can fetch them."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id=f"test-{uuid4().hex}"
    )
    async with producer:
        for partition in (0, 1):
            async with producer.transaction():
                await producer.send_and_wait(settings.topic(ROUTED_BACKGROUND.name), b"x", partition=partition)
    await commit(settings, "executor", ROUTED_BACKGROUND, {0: 1, 1: 1})
    assert await progress(settings) == NOW
