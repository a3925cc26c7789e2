"""Tenants on a broker with ACLs: who may write where is the broker's, and whose a message is nobody can choose.

`acme` and `bolt` have topics of their own, and logins with the ACLs that docs/operations.md gives. `carl` and `dora`
sign on the shared topics, which here anybody may write and read. The services log in as `waybill`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from support import acls, sql
from support.acl_broker import ADMIN, AclBroker, acl_broker
from support.deployment import Deployment, deployed
from support.jobs import cancel, replay
from support.stack_jobs import job
from support.stack_running import until
from support.stack_topics import Tape, tape
from support.tenants import some_tenants

from schemas.dead_letter import HEADER_PREFIX
from schemas.topics import TOPICS
from services.recorder.feedback import NO_RECORD, NOT_ITS_TENANT
from services.runtime import queries, topics
from services.runtime.settings import Settings, TopicOverride
from services.tenancy import sign
from services.tenancy.binding import UNKNOWN_KEY, UNSIGNED, WRONG_SIGNATURE

CONFIG: Final = Path(__file__).parents[2] / "config"
BOUND_S: Final = 120
WAYBILL, APART, SIGNING = "waybill", ("acme", "bolt"), ("carl", "dora")
SECRETS: Final = {name: uuid4().hex for name in SIGNING}
TENANTS: Final = some_tenants(
    **{name: {"topics": True} for name in APART},
    **{name: {"keys": [{"id": f"{name}-1", "secret": name.upper()}]} for name in SIGNING},
)
_SQL = sql.load("apart")
_APPLY = queries.load("cli_tenants")["apply"]
Headers = Sequence[tuple[str, bytes]]


@pytest_asyncio.fixture(scope="session")
async def broker() -> AsyncIterator[AclBroker]:
    """A broker with ACLs, started for these tests and ended by its process id."""
    async with acl_broker([WAYBILL, *APART]) as found:
        yield found


@dataclass
class Apart:
    """A deployment on that broker, and what came on its topics since it was made."""

    waybill: Deployment
    broker: AclBroker
    tapes: dict[str, Tape]

    def topic(self, name: str) -> str:
        return self.waybill.settings.topic(name)

    async def publish(self, user: str, topic: str, document: object, headers: Headers = ()) -> None:
        """Publish as a login of the broker; raises what the broker refuses it with."""
        value = document if isinstance(document, bytes) else orjson.dumps(document)
        producer = AIOKafkaProducer(acks="all", **self.broker.client(user))
        await producer.start()
        try:
            async with asyncio.timeout(BOUND_S):
                await producer.send_and_wait(self.topic(topic), value, key=b"k", headers=list(headers))
        finally:
            await producer.stop()

    async def read(self, user: str, topic: str, group: str, count: int = 1) -> list[dict[str, Any]]:
        """Read messages in a consumer group as a login; raises what the broker refuses it with."""
        consumer = AIOKafkaConsumer(
            self.topic(topic), group_id=group, auto_offset_reset="earliest", **self.broker.client(user)
        )
        try:
            async with asyncio.timeout(BOUND_S):
                await consumer.start()
                return [orjson.loads((await consumer.getone()).value) for _ in range(count)]
        finally:
            await consumer.stop()

    async def results(self, topic: str) -> list[dict[str, Any]]:
        return [orjson.loads(record.value or b"") for record in await self.tapes[topic].read()]

    async def letters(self, count: int) -> list[tuple[str, str]]:
        """Return code and reason of every dead letter, once there are so many."""
        await self.tapes["dead-letter"].until(lambda records: len(records) >= count, f"{count} dead letters")
        told = [dict(record.headers) for record in await self.tapes["dead-letter"].read()]
        return sorted((h[HEADER_PREFIX + "code"].decode(), h[HEADER_PREFIX + "reason"].decode()) for h in told)

    async def records(self, tenant: str) -> list[tuple[UUID, str | None]]:
        return [(row["record_id"], row["code"]) for row in await self.waybill.fetch(_SQL["records"], tenant)]

    async def ended(self, tenant: str, count: int) -> list[UUID]:
        """Return a tenant's records when there are so many and all have ended."""
        await self.waybill.until_done(tenant, count)
        return [record_id for record_id, _ in await self.records(tenant)]

    async def kinds(self, record_id: UUID) -> list[str]:
        return [row["kind"] for row in await self.waybill.fetch(_SQL["kinds"], record_id)]

    async def verdicts(self, record_id: UUID, count: int) -> list[tuple[str, str]]:
        """Return whose verdicts a record has, once it has so many."""
        rows: list[asyncpg.Record] = []

        async def enough() -> bool:
            rows[:] = await self.waybill.fetch(_SQL["verdicts"], record_id)
            return len(rows) >= count

        await until(enough, f"{record_id} has {count} verdicts")
        return [(row["tenant"], row["verdict"]) for row in rows]


@pytest_asyncio.fixture
async def apart(
    broker: AclBroker, database: str, logins: dict[str, str], master_key_file: Path, tmp_path: Path
) -> AsyncIterator[Apart]:
    """All four services, with tenants in force and ACLs as documented."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, secret in SECRETS.items():
        (secrets / name.upper()).write_text(secret)
    settings = Settings(
        DATABASE_URL=database,
        WAYBILL_TOPIC_PREFIX=f"test-{uuid4().hex[:12]}.",
        WAYBILL_TOPICS={topic.name: TopicOverride(partitions=1) for topic in TOPICS},
        WAYBILL_CONFIG_DIR=CONFIG,
        WAYBILL_SECRETS_DIR=secrets,
        WAYBILL_MASTER_KEY_FILE=master_key_file,
        **broker.settings(WAYBILL),  # type: ignore[arg-type]
    )
    await _let_in(broker, settings)
    await topics.apply(settings, TENANTS)
    connection = await asyncpg.connect(database)
    await connection.fetchval(_APPLY, TENANTS.content().decode(), "test")
    await connection.close()
    async with deployed(settings, logins, tmp_path) as waybill:
        names = ("dead-letter", "results", "results.acme", "results.bolt")
        tapes = {name: await tape(settings, settings.topic(name)) for name in names}
        await waybill.start()
        yield Apart(waybill, broker, tapes)


async def _let_in(broker: AclBroker, settings: Settings) -> None:
    """Make the ACLs of the documentation, and wait until the broker goes by them."""
    wanted = acls.renamed(acls.documented(), settings.topic_prefix, {WAYBILL: [WAYBILL], "acme": APART})
    assert {acl.user for acl in wanted} == {WAYBILL, *APART}
    admin = AIOKafkaAdminClient(**broker.client(ADMIN))
    await admin.start()
    try:
        await acls.create(admin, wanted)
        await until(lambda: acls.in_force(admin, wanted), "the broker goes by its ACLs")
    finally:
        await admin.close()


def feedback(tenant: str, record_id: UUID | None = None, verdict: str = "rejected", **fields: Any) -> dict[str, Any]:
    named = {} if record_id is None else {"record_id": str(record_id)}
    return {"schema_version": 1, "tenant": tenant, "verdict": verdict, **named, **fields}


# -- the broker -------------------------------------------------------------------------------------------------------


async def test_the_broker_lets_a_tenant_write_and_read_its_own_and_nothing_else(apart: Apart) -> None:
    others = ["requests.bolt", "feedback.bolt", "results.bolt", "results.acme"]
    for topic in [*others, *(topic.name for topic in TOPICS)]:
        with pytest.raises(TopicAuthorizationFailedError):
            await apart.publish("acme", topic, b"{}")
    for topic in ["results.bolt", "requests.acme", "requests.bolt", *(topic.name for topic in TOPICS)]:
        with pytest.raises(TopicAuthorizationFailedError):
            await apart.read("acme", topic, "acme.reader")
    for group in ("bolt.reader", apart.waybill.settings.group("classifier"), "reader"):
        with pytest.raises(GroupAuthorizationFailedError):
            await apart.read("acme", "results.acme", group)
    await apart.publish("acme", "requests.acme", job("acme", "k1"))
    [result] = await apart.read("acme", "results.acme", "acme.reader")
    assert (result["tenant"], result["idempotency_key"], result["status"]) == ("acme", "k1", "succeeded")
    await apart.publish("acme", "feedback.acme", feedback("acme", UUID(result["record_id"]), "edited"))
    assert await apart.verdicts(UUID(result["record_id"]), 1) == [("acme", "edited")]


# -- topics of their own ----------------------------------------------------------------------------------------------


async def test_on_its_own_topics_a_tenant_acts_for_nobody_else(apart: Apart) -> None:
    await apart.publish("bolt", "requests.bolt", job("bolt", "k1"))
    [theirs] = await apart.ended("bolt", 1)
    before = await apart.kinds(theirs)
    for document in (
        job("bolt", "k2"),
        cancel("k1", "bolt"),
        replay(theirs, "bolt"),
        replay(theirs, "acme"),
        cancel("k1", "acme"),  # of a key of its own, which nobody has used
        {**job("bolt", "k3"), "no_such_field": 1},
    ):
        await apart.publish("acme", "requests.acme", document)
    for document in (
        feedback("bolt", theirs),
        feedback("bolt", idempotency_key="k1"),
        feedback("acme", theirs),
        feedback("acme", uuid4()),
        feedback("acme", idempotency_key="k1"),
    ):
        await apart.publish("acme", "feedback.acme", document)
    await apart.ended("acme", 5)
    assert await apart.letters(5) == sorted(
        [("tenant_mismatch", NOT_ITS_TENANT)] * 2 + [("invalid_message", NO_RECORD)] * 3
    )
    assert (
        sorted(code or "" for _, code in await apart.records("acme")) == ["invalid_message"] + ["tenant_mismatch"] * 4
    )
    told = await apart.results("results.acme")
    assert [result["status"] for result in told] == ["rejected"] * 5
    assert str(theirs) not in {result["replay_of"] for result in told}
    assert [record_id for record_id, _ in await apart.records("bolt")] == [theirs]
    assert await apart.kinds(theirs) == before
    assert [row[0] for row in await apart.waybill.fetch(_SQL["cancelled"], "bolt")] == [0]
    assert {result["record_id"] for result in await apart.results("results.bolt")} == {str(theirs)}
    assert await apart.results("results") == [], "nothing of theirs goes where all who share it read"
    # What its tenant says of it counts.
    await apart.publish("bolt", "feedback.bolt", feedback("bolt", theirs, "accepted"))
    await apart.publish("bolt", "feedback.bolt", feedback("bolt", verdict="escalated", idempotency_key="k1"))
    assert await apart.verdicts(theirs, 2) == [("bolt", "accepted"), ("bolt", "escalated")]


# -- the shared topics ------------------------------------------------------------------------------------------------


def signed(name: str, document: object, *, key: str | None = None) -> tuple[bytes, Headers]:
    """Return a document's bytes, and the headers by which a tenant signs them, as the holder of this key or another."""
    value = orjson.dumps(document)
    return value, sign(f"{key or name}-1", SECRETS[name], value)


async def test_on_the_shared_topics_a_signature_says_whose_a_message_is(apart: Apart) -> None:
    genuine = signed("dora", job("dora", "k1"))
    await apart.publish(WAYBILL, "requests", *genuine)
    [theirs] = await apart.ended("dora", 1)
    verdict = signed("dora", feedback("dora", theirs, "accepted"))
    await apart.publish(WAYBILL, "feedback", *verdict)
    assert await apart.verdicts(theirs, 1) == [("dora", "accepted")]

    before = await apart.kinds(theirs)
    forged = job("dora", "k2")
    changed = orjson.dumps(job("dora", "k3")), genuine[1]
    await apart.publish(WAYBILL, "requests", forged)
    await apart.publish(WAYBILL, "requests", job("bolt", "k2"))
    await apart.publish(WAYBILL, "requests", job("nobody", "k2"))
    await apart.publish(WAYBILL, "requests", *changed)
    await apart.publish(WAYBILL, "requests", *signed("carl", forged, key="dora"))  # carl's secret under dora's name
    await apart.publish(WAYBILL, "requests", *signed("carl", forged, key="erna"))
    for document in (forged, cancel("k1", "dora"), replay(theirs, "dora"), replay(theirs, "carl")):
        await apart.publish(WAYBILL, "requests", *signed("carl", document))
    opinion = feedback("dora", theirs, "rejected")
    await apart.publish(WAYBILL, "feedback", opinion)
    await apart.publish(WAYBILL, "feedback", orjson.dumps(opinion), verdict[1])
    await apart.publish(WAYBILL, "feedback", *signed("carl", opinion, key="dora"))
    await apart.publish(WAYBILL, "feedback", *signed("carl", opinion))
    await apart.publish(WAYBILL, "feedback", *signed("carl", feedback("carl", theirs)))
    # What was signed once is the same message, however often somebody sends it.
    await apart.publish(WAYBILL, "requests", *genuine)
    await apart.publish(WAYBILL, "feedback", *verdict)

    await apart.ended("carl", 4)
    refusals = [UNSIGNED] * 4 + [WRONG_SIGNATURE] * 4 + [UNKNOWN_KEY]
    expected = [("tenant_mismatch", refusal.reason) for refusal in refusals]
    expected += [("tenant_mismatch", NOT_ITS_TENANT), ("invalid_message", NO_RECORD)]
    assert await apart.letters(len(expected)) == sorted(expected)
    assert (
        sorted(code or "" for _, code in await apart.records("carl")) == ["invalid_message"] + ["tenant_mismatch"] * 3
    )
    for nobody in ("bolt", "nobody"):
        assert await apart.records(nobody) == []
    assert [record_id for record_id, _ in await apart.records("dora")] == [theirs]
    assert [row[0] for row in await apart.waybill.fetch(_SQL["cancelled"], "dora")] == [0]
    # Their own next verdict comes behind all that was tried.
    await apart.publish(WAYBILL, "feedback", *signed("dora", feedback("dora", theirs, "edited")))
    assert await apart.verdicts(theirs, 2) == [("dora", "accepted"), ("dora", "edited")]
    assert await apart.kinds(theirs) == [*before, "feedback"]
