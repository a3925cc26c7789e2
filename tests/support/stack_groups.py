"""The consumer groups of a stack, as the broker sees them."""

from __future__ import annotations

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.protocol.group import LeaveGroupRequest

from services.runtime.settings import Settings
from services.runtime.topics import open_admin

_STABLE = "Stable"


async def members(settings: Settings, service: str) -> tuple[bool, list[str]]:
    """Return whether a service's group has settled who has which partition, and the ids of its members."""
    admin = await open_admin(settings)
    try:
        (response,) = await admin.describe_consumer_groups([settings.group(service)])
        ((_, _, state, _, _, found, *_),) = response.groups
        return state == _STABLE, [member[0] for member in found]
    finally:
        await admin.close()


async def is_shared_by(settings: Settings, service: str, size: int) -> bool:
    """Return whether so many processes share the partitions, and have settled who has which."""
    settled, found = await members(settings, service)
    return settled and len(found) == size


async def forget_members(settings: Settings, service: str) -> None:
    """Tell the broker now what it would find out when the dead members' sessions time out, ten seconds later.

    A member that lives joins again at once: to it this is a rebalance like any other.
    """
    _, found = await members(settings, service)
    client = AIOKafkaClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    try:
        await client.bootstrap()
        group = settings.group(service)
        coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
        for member in found:
            await client.send(coordinator, LeaveGroupRequest(group, member))
    finally:
        await client.close()
