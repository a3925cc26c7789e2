"""Content is in the vault and on edge topics only: not in an entry, a fact, a key table or an internal message."""

from __future__ import annotations

from typing import Any, Final

import pytest_asyncio
from support.attempts import answered
from support.canaries import Places, Search, places_with
from support.flow import Flow, chain_of, content, decide, record_of, results, seal
from support.jobs import cancel, job, published, replay, take_in
from support.servers import OpenHost

from schemas.codes import EntryKind
from services.policy import Policy
from services.runtime import vault
from services.runtime.ids import derive
from services.runtime.kafka import Outgoing

CANARY: Final = "Zebrafink"
PERSONAL: Final = "zebrafink.canary@example.org"


def secret(place: str) -> str:
    return f"{CANARY}-{place} {PERSONAL} 4111 1111 1111 1111"


def full_job(**fields: Any) -> dict[str, Any]:
    """Return a job with a canary in every field that takes a caller's free text; labels are no content."""
    parameters = {"type": "object", "properties": {f"{CANARY}Property": {"description": secret("property")}}}
    everything: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": secret("system")},
            {"role": "user", "content": [{"type": "text", "text": secret("part")}], "name": f"{CANARY}Name"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": f"{CANARY}Call", "function": {"name": "kb_search", "arguments": secret("arguments")}}
                ],
            },
            {"role": "tool", "tool_call_id": f"{CANARY}Call", "content": secret("tool")},
        ],
        "documents": [
            {
                "id": f"{CANARY}Document",
                "text": secret("document"),
                "source": secret("source"),
                "title": secret("title"),
                "trust": "web",
            }
        ],
        "tools": [
            {"function": {"name": "kb_search", "description": secret("tool description"), "parameters": parameters}}
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": parameters, "description": secret("format")},
        },
        "params": {"stop": [f"{CANARY} stop"]},
        "idempotency_key": f"{CANARY}-key-{fields.get('subject', '')}",
        "metadata": {f"{CANARY}Field": secret("metadata")},
        "labels": {"team": "search-engineering"},
        "subject": secret("subject"),
    }
    return job(**{**everything, **fields})


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


def leaks(text: str | bytes) -> bool:
    return Search([CANARY, PERSONAL]).finds(text)


async def test_the_vault_holds_exactly_what_was_published(flow: Flow) -> None:
    records = [published(full_job()), published(job("short"))]
    for record in records:
        [message] = await take_in(flow.classifier, record)
        record_id = record_of(message)
        entry = derive(record_id, EntryKind.RECEIVED, 0)
        [piece] = (await vault.load(flow.host.pool, [(record_id, entry, vault.JOB)])).values()
        key = (await flow.host.keyring.load([record_id]))[record_id]
        assert key.decrypt(entry, vault.JOB, piece.ciphertext) == record.value
        digests = (await chain_of(flow.host, record_id))[0].content()["data"]["digests"]
        assert digests["job"] == key.digest(record.value or b"")


async def test_nothing_of_a_jobs_content_is_anywhere_else(flow: Flow) -> None:
    messages: list[Outgoing] = []
    whole = await take_in(flow.classifier, full_job())
    conflict = await take_in(flow.classifier, {**full_job(), "quality": "high"})
    unknown = await take_in(flow.classifier, full_job(subject="two", **{f"{CANARY} field": 1}))
    wrong = await take_in(flow.classifier, full_job(subject="three", task=secret("task"), user_tier=secret("tier")))
    unprintable = await take_in(flow.classifier, full_job(subject="four\0", metadata={f"{CANARY}\0": secret("nul")}))
    too_deep = await take_in(flow.classifier, full_job(subject="five", response_format={"type": secret("type")}))
    to_cancel = await take_in(flow.classifier, full_job(subject="six"))
    await take_in(flow.classifier, cancel(f"{CANARY}-key-six"), cancel(f"{CANARY}-never-came"))
    refused = conflict + unknown + wrong + unprintable + too_deep
    assert [content(message)["status"] for message in refused] == ["rejected"] * 5

    decided = await decide(flow.router, whole + to_cancel)
    done = await answered(flow.host, record_of(whole[0]), {"choices": [{"message": {"content": secret("answer")}}]})
    ended = [message for message in decided if "status" in content(message)]
    assert len(ended) == 1
    await seal(flow.recorder, [*refused, *ended, done])
    replayed = await take_in(flow.classifier, replay(record_of(whole[0])))
    messages += whole + refused + to_cancel + decided + replayed + [done]

    for message in messages:
        assert not leaks(message.value or b""), message.topic
        assert not leaks(message.key or b"")
    places = Places([flow.host.settings.database_url], flow.host.settings)
    assert await places_with(CANARY, PERSONAL, places=places) == []
    labels = await places_with("search-engineering", places=places)
    assert {"table facts.request", "table record.entry"} <= set(labels), "labels do stand there"

    published_results = dict(await results(flow.host, 7))
    assert leaks(published_results[record_of(whole[0])]), "the canary can be seen where content belongs"
