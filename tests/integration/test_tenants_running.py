"""Tenants that come, change their keys and go while all four services run, on real topics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from support.deployment import Deployment, deployed
from support.flow import messages_of
from support.stack_jobs import job
from support.tenants import apply_tenants

from schemas.topics import DEAD_LETTER, REQUESTS, RESULTS, Topic
from services.runtime.kafka import Outgoing, Producer
from services.runtime.settings import Settings
from services.tenancy import own_topic, sign

ONE, TWO = {"id": "k-1", "secret": "KEY_ONE"}, {"id": "k-2", "secret": "KEY_TWO"}
SECRETS = {"k-1": "one", "k-2": "two"}


@pytest_asyncio.fixture
async def waybill(settings: Settings, logins: dict[str, str], tmp_path: Path) -> AsyncIterator[Deployment]:
    """All services, with secrets in a folder; unsigned jobs are refused, and one tenant is in force."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for key in (ONE, TWO):
        (secrets / key["secret"]).write_text(SECRETS[key["id"]] + "\n")
    strict = settings.model_copy(update={"secrets_dir": secrets, "allow_unsigned": False})
    await apply_tenants(strict, tmp_path / "tenants", first={"topics": True})
    async with deployed(strict, logins, tmp_path) as waybill:
        await waybill.start()
        yield waybill


async def send(settings: Settings, *messages: Outgoing) -> None:
    producer = Producer(settings, "client")
    await producer.start()
    try:
        await producer.send(messages)
    finally:
        await producer.stop()


def own(topic: Topic, tenant: str) -> Topic:
    return replace(topic, name=own_topic(topic.name, tenant))


def message(settings: Settings, document: dict[str, Any], *, on: str | None = None, key: str | None = None) -> Outgoing:
    """Return a job on a tenant's own topic, or on the shared one, signed or not."""
    value = orjson.dumps(document)
    topic = settings.topic((REQUESTS if on is None else own(REQUESTS, on)).name)
    headers = [] if key is None else sign(key, SECRETS[key], value)
    return Outgoing(topic, document["idempotency_key"].encode(), value, headers)


async def until_answered(waybill: Deployment, topic: Topic, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return everything on a results topic, once it has a final result for each key."""
    told: list[dict[str, Any]] = []

    async def answered() -> bool:
        nonlocal told
        told = [orjson.loads(value) for _, value in await messages_of(waybill.settings, topic, 0)]
        return {one["idempotency_key"] for one in told if one["event"] == "final"} >= set(keys)

    await waybill.until(answered, f"{topic.name} has the results of {', '.join(keys)}")
    return told


async def until_buried(waybill: Deployment, count: int) -> list[bytes]:
    """Return the values of the dead letters, once there are so many."""
    values: list[bytes] = []

    async def buried() -> bool:
        nonlocal values
        values = [value for _, value in await messages_of(waybill.settings, DEAD_LETTER, 0)]
        return len(values) >= count

    await waybill.until(buried, f"{count} dead letters")
    return values


async def test_a_tenant_applied_while_services_run_is_served_on_its_own_topics(
    waybill: Deployment, tmp_path: Path
) -> None:
    settings = waybill.settings
    await send(settings, message(settings, job("first", "before"), on="first"))
    await until_answered(waybill, own(RESULTS, "first"), ["before"])

    await apply_tenants(settings, tmp_path / "tenants", first={"topics": True}, late={"topics": True})
    await send(
        settings,
        message(settings, job("late", "mine", notify="all"), on="late"),
        message(settings, job("first", "forged"), on="late"),
        message(settings, job("late", "unsigned")),
    )
    told = await until_answered(waybill, own(RESULTS, "late"), ["mine", "forged"])
    assert {(one["tenant"], one["event"], one.get("status"), one.get("idempotency_key")) for one in told} == {
        ("late", "accepted", None, None),
        ("late", "final", "succeeded", "mine"),
        ("late", "final", "rejected", "forged"),
    }
    assert [orjson.loads(value)["idempotency_key"] for value in await until_buried(waybill, 1)] == ["unsigned"]
    assert await messages_of(settings, RESULTS, 0) == []
    before = await until_answered(waybill, own(RESULTS, "first"), ["before"])
    assert {one["tenant"] for one in before} == {"first"}


async def test_keys_rotate_without_a_job_lost_or_a_service_restarted(waybill: Deployment, tmp_path: Path) -> None:
    settings = waybill.settings

    async def publish_with(key: str, name: str) -> None:
        await send(settings, message(settings, job("turning", name), key=key))

    await apply_tenants(settings, tmp_path / "tenants", turning={"keys": [ONE]})
    await publish_with("k-1", "with the first")  # at once: no classifier need have heard of the tenant
    await apply_tenants(settings, tmp_path / "tenants", turning={"keys": [ONE, TWO]})
    await publish_with("k-1", "still with the first")
    await publish_with("k-2", "with the second")
    names = ["with the first", "still with the first", "with the second"]
    told = await until_answered(waybill, RESULTS, names)
    assert {(one["tenant"], one["status"]) for one in told} == {("turning", "succeeded")}

    await apply_tenants(settings, tmp_path / "tenants", turning={"keys": [TWO]})
    classifier = waybill.running[0].host

    async def heard() -> bool:
        return classifier.tenants.seq == 4

    await waybill.until(heard, "the classifier has heard of the version without the first key")
    await publish_with("k-1", "too late")
    await publish_with("k-2", "in time")
    await until_answered(waybill, RESULTS, ["in time"])
    assert [orjson.loads(value)["idempotency_key"] for value in await until_buried(waybill, 1)] == ["too late"]


@pytest.mark.parametrize("cap", [None, "0"])
async def test_a_tenants_cap_decides_whether_a_doubt_is_tried_again(
    waybill: Deployment, tmp_path: Path, cap: str | None
) -> None:
    agreed = {"topics": True} if cap is None else {"topics": True, "in_doubt_cap_usd": cap}
    await apply_tenants(waybill.settings, tmp_path / "tenants", doubtful=agreed)
    doubt = job("doubtful", "k", "Say hello. [[sim: close fail=1]]")
    await send(waybill.settings, message(waybill.settings, doubt, on="doubtful"))

    async def ended() -> bool:
        progress = await waybill.progress("doubtful")
        return bool(progress.held if cap else progress.sealed)

    await waybill.until(ended, "the doubt is held" if cap else "the doubt is tried once more")
