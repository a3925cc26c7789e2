"""Whose record a message becomes: binding at intake, for jobs, cancels and replays, and where results go."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord
from support import sql
from support.flow import Flow, chain_of, content, decide, going_to, messages_of, record_of, seal
from support.jobs import cancel, job, published, replay, take_in
from support.servers import OpenHost
from support.tenants import apply_tenants

from schemas.codes import ErrorCode
from schemas.topics import CLASSIFIED, DEAD_LETTER, OUTCOMES, RESULTS, Topic
from services.policy import Policy
from services.runtime.host import Host
from services.runtime.kafka import Outgoing
from services.runtime.settings import Settings
from services.runtime.topics import own_topics
from services.tenancy import sign

_SQL = sql.load("intake")
KEYS = {
    "signed": [{"id": "s-1", "secret": "SIGNED_1"}],
    "other": [{"id": "o-1", "secret": "OTHER_1"}],
}


@pytest_asyncio.fixture
async def flow(
    settings: Settings, host: OpenHost, policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Flow:
    """All stages, and tenants of each kind in force."""
    monkeypatch.setenv("SIGNED_1", "s1")
    monkeypatch.setenv("OTHER_1", "o1")
    await apply_tenants(
        settings,
        tmp_path / "tenants",
        apart={"topics": True, "regions": ["local"]},
        beside={"topics": True},
        nowhere={"topics": True, "regions": ["mars"]},
        signed={"keys": KEYS["signed"]},
        other={"keys": KEYS["other"]},
    )
    return await Flow.open(host, policy)


def on(flow: Flow, document: object, tenant: str | None = None) -> ConsumerRecord[bytes, bytes]:
    """Return a document on a tenant's own topic, or on the shared one."""
    return published(document, topic=flow.host.settings.topic("requests" if tenant is None else f"requests.{tenant}"))


def signed(document: object, key_id: str = "s-1", secret: str = "s1") -> ConsumerRecord[bytes, bytes]:
    value = orjson.dumps(document)
    return published(value, headers=sign(key_id, secret, value))


async def rejected(flow: Flow, *records: ConsumerRecord[bytes, bytes]) -> list[dict[str, Any]]:
    """Return the data of the first entry of each record that messages became; all of them have to be rejected."""
    messages = await take_in(flow.classifier, *records)
    assert len(going_to(flow.host, OUTCOMES, messages)) == len(messages) == len(records)
    return [(await chain_of(flow.host, record_of(m)))[0].content()["data"] for m in messages]


async def buried(flow: Flow, *records: ConsumerRecord[bytes, bytes]) -> list[str]:
    """Return why messages became dead letters; all of them have to."""
    messages = await take_in(flow.classifier, *records)
    assert len(going_to(flow.host, DEAD_LETTER, messages)) == len(messages) == len(records)
    assert [m.value for m in messages] == [record.value for record in records]
    return [dict(m.headers)["waybill-reason"].decode() for m in messages]


async def test_a_job_on_a_tenants_topic_is_that_tenants_whatever_it_says(flow: Flow) -> None:
    documents = [
        job(tenant="beside", idempotency_key="k"),
        job(tenant="acme"),
        {**cancel("k", "beside")},
        {"tenant": "beside", "no": "job"},
    ]
    received = await rejected(flow, *(on(flow, document, "apart") for document in documents))
    assert {data["tenant"] for data in received} == {"apart"}
    fault = {"code": ErrorCode.TENANT_MISMATCH, "field": "tenant"}
    assert [data["error"] for data in received] == [fault] * len(documents)


async def test_what_names_nobody_is_recorded_where_the_topic_or_a_signature_says_whose_it_is(flow: Flow) -> None:
    nameless = {name: value for name, value in job().items() if name != "tenant"}
    received = await rejected(
        flow,
        on(flow, b"no JSON", "apart"),
        on(flow, nameless, "apart"),
        on(flow, job(tenant="Not An Id"), "apart"),
        signed(nameless),
    )
    assert sorted((data["tenant"], data["error"]["field"] or "") for data in received) == [
        ("apart", ""),
        ("apart", "tenant"),
        ("apart", "tenant"),
        ("signed", "tenant"),
    ]
    assert await buried(flow, on(flow, b"no JSON"), on(flow, nameless)) == [
        "the value is not a JSON object",
        "tenant: missing",
    ]


async def test_a_signature_binds_on_the_shared_topic(flow: Flow) -> None:
    [message] = await take_in(flow.classifier, signed(job(tenant="signed")))
    assert content(message)["tenant"] == "signed"
    [mismatch] = await rejected(flow, signed(job(tenant="other")))
    assert (mismatch["tenant"], mismatch["error"]["code"]) == ("signed", "tenant_mismatch")
    reasons = await buried(
        flow,
        on(flow, job(tenant="signed")),
        on(flow, job(tenant="apart")),
        signed(job(tenant="signed"), "s-1", "o1"),
        signed(job(tenant="signed"), "s-9", "s1"),
        on(flow, job(tenant="stranger"), "stranger"),
    )
    assert reasons == [
        "the tenant has topics or keys of its own, and the message is not signed",
        "the tenant has topics or keys of its own, and the message is not signed",
        "the signature is not that of the message",
        "no tenant has this signing key",
        "no tenant has this topic",
    ]


async def test_without_leave_an_unsigned_job_is_refused(settings: Settings, flow: Flow, host: OpenHost) -> None:
    strict: Host = flow.at("classifier")
    strict.settings = settings.model_copy(update={"allow_unsigned": False})
    flow.classifier = type(flow.classifier)(strict, flow.classifier._clock)
    assert await buried(flow, on(flow, job()), on(flow, cancel("k"))) == ["the message is not signed"] * 2
    [message] = await take_in(flow.classifier, signed(job(tenant="signed")))
    assert content(message)["tenant"] == "signed"


async def test_a_cancel_reaches_the_keys_of_its_own_tenant_alone(flow: Flow) -> None:
    mine = job(tenant="signed", idempotency_key="k")
    [message] = await take_in(flow.classifier, signed(mine))
    forged = [on(flow, cancel("k", "signed"), "apart"), signed(cancel("k", "signed"), "o-1", "o1")]
    assert sorted(data["tenant"] for data in await rejected(flow, *forged)) == ["apart", "other"]
    await buried(flow, on(flow, cancel("k", "signed")))
    [decision] = await decide(flow.router, [message])
    assert "orders" in content(decision), "not cancelled"

    [message] = await take_in(flow.classifier, signed({**mine, "idempotency_key": "k2"}))
    assert await take_in(flow.classifier, signed(cancel("k2", "signed"))) == []
    [outcome] = await decide(flow.router, [message])
    assert content(outcome)["status"] == "cancelled"


async def test_a_replay_reaches_the_records_of_its_own_tenant_alone(flow: Flow) -> None:
    [message] = await take_in(flow.classifier, signed(job(tenant="signed", idempotency_key="k")))
    await take_in(flow.classifier, signed(cancel("k", "signed")))
    await seal(flow.recorder, await decide(flow.router, [message]))
    record_id = record_of(message)
    received = await rejected(
        flow,
        on(flow, replay(record_id, "signed"), "apart"),
        on(flow, replay(record_id, "apart"), "apart"),
        signed(replay(record_id, "other"), "o-1", "o1"),
    )
    assert sorted((data["tenant"], data["error"]["code"]) for data in received) == [
        ("apart", "invalid_message"),
        ("apart", "tenant_mismatch"),
        ("other", "invalid_message"),
    ]
    [again] = await take_in(flow.classifier, signed(replay(record_id, "signed")))
    assert again.topic == flow.host.settings.topic(CLASSIFIED.name)


async def in_topic(settings: Settings, topic: Topic) -> set[tuple[UUID, str, str]]:
    """Return record, tenant and event of everything that backends are told on a topic."""
    told = [orjson.loads(value) for _, value in await messages_of(settings, topic, 0)]
    return {(UUID(one["record_id"]), one["tenant"], one["event"]) for one in told}


async def test_a_tenant_with_topics_gets_results_and_notices_there_and_nobody_else_does(flow: Flow) -> None:
    records: dict[str, UUID] = {}
    sent: list[Outgoing] = []
    for tenant, wrapped in {
        "apart": on(flow, job(tenant="apart", notify="all"), "apart"),
        "beside": on(flow, job(tenant="beside", notify="all", idempotency_key="k"), "beside"),
        "signed": signed(job(tenant="signed", notify="all")),
        "acme": on(flow, job(notify="all")),
        "forged": on(flow, job(tenant="beside", idempotency_key="k2"), "apart"),
    }.items():
        messages = await take_in(flow.classifier, wrapped)
        records[tenant] = record_of(messages[0])
        sent += [
            m for m in messages if m.topic not in (flow.host.settings.topic(t.name) for t in (CLASSIFIED, OUTCOMES))
        ]
        for message in messages:
            if message.topic == flow.host.settings.topic(CLASSIFIED.name):
                ended = flow.host.wakeups.outcome(
                    record_of(message),
                    content(message)["tenant"],
                    *content(message)["head"].values(),
                    "failed",
                    "internal",
                )
                await seal(flow.recorder, [ended])
            elif message.topic == flow.host.settings.topic(OUTCOMES.name):
                await seal(flow.recorder, [message])
    await flow.host.producer.send(sent)

    def told(*tenants: str) -> set[tuple[UUID, str, str]]:
        final = {(records[t], "apart" if t == "forged" else t, "final") for t in tenants}
        return final | {(records[t], t, "accepted") for t in tenants if t != "forged"}

    own = {topic.name: topic for topic in own_topics(flow.host.tenants.current)}
    assert await in_topic(flow.host.settings, own["results.apart"]) == told("apart", "forged")
    assert await in_topic(flow.host.settings, own["results.beside"]) == told("beside")
    assert await in_topic(flow.host.settings, RESULTS) == told("signed", "acme")


async def test_allowed_regions_restrict_the_decision_and_say_so(flow: Flow) -> None:
    for tenant, routed in (("apart", True), ("nowhere", False)):
        [message] = await take_in(flow.classifier, on(flow, job(tenant=tenant), tenant))
        await decide(flow.router, [message])
        decision = (await chain_of(flow.host, record_of(message)))[-1].content()["data"]["decision"]
        assert (decision["route"] is not None) is routed
        assert [r["rule"] for r in decision["reasons"] if r["code"] == "tenant_regions"] == ["tenant"]
        assert decision["inputs"]["tenants"] == flow.host.tenants.current.name
        ruled_out = {out["rule"] for out in decision["ruled_out"]}
        assert ("tenant" in ruled_out) is not routed
