"""How long what was published stays readable on the topics that clients see: what an erasure has to wait for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from schemas.topics import DEAD_LETTER, REQUESTS, RESULTS, Topic
from services.runtime import topics
from services.runtime.kafka import BrokerUnreachableError
from services.runtime.settings import Settings
from services.runtime.topics import open_admin

TOPICS: Final = (REQUESTS, RESULTS, DEAD_LETTER)
CHECK_EVERY: Final = timedelta(minutes=5)
"""How often a broker looks for what may be deleted: its default for log.retention.check.interval.ms."""
DELETE_DELAY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Copies:
    """For how long a message can be read on each topic, by its full name; None for ever."""

    lifetimes: Mapping[str, timedelta | None]
    told_by_broker: bool

    def longest(self) -> timedelta | None:
        """Return when the last of them is gone."""
        lifetimes = list(self.lifetimes.values())
        known = [lifetime for lifetime in lifetimes if lifetime is not None]
        return max(known) if len(known) == len(lifetimes) else None


async def copies(settings: Settings) -> Copies:
    """Ask the broker; what it does not tell is taken from the settings."""
    wanted = {settings.topic(topic.name): _wanted(topic, settings) for topic in TOPICS}
    try:
        admin = await open_admin(settings)
        try:
            told = {name: await _told(admin, name) for name in wanted}
        finally:
            await admin.close()
    except (KafkaError, BrokerUnreachableError):
        told = {name: {} for name in wanted}
    lifetimes = {name: lifetime(configs | told[name]) for name, configs in wanted.items()}
    return Copies(lifetimes, told_by_broker=all(told.values()))


def lifetime(configs: Mapping[str, str]) -> timedelta | None:
    """Return for how long a topic with this configuration shows a message at most; None for ever.

    A segment is deleted when its last message is older than the retention, and takes messages for ``segment.ms``.
    """
    retention, segment = int(configs["retention.ms"]), int(configs["segment.ms"])
    if retention < 0:
        return None
    return timedelta(milliseconds=retention + segment) + CHECK_EVERY + DELETE_DELAY


def _wanted(topic: Topic, settings: Settings) -> dict[str, str]:
    *_, configs = topics.wanted(topic, settings, brokers=1)
    return configs


async def _told(admin: AIOKafkaAdminClient, name: str) -> dict[str, str]:
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name, None)])
    entries = [entry for response in responses for *_, found in response.resources for entry in found]
    return {key: value for key, value, *_ in entries if key in ("retention.ms", "segment.ms")}
