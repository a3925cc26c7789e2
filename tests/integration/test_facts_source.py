"""Documents given with a job stand in the facts by keyed digests, and with what may be known of them."""

from __future__ import annotations

from typing import Any

import pytest_asyncio
from support import sql
from support.attempts import ended
from support.flow import Flow, chain_of, record_of, seal
from support.jobs import job, replay, take_in
from support.servers import OpenHost

from schemas.codes import ErrorCode, Status
from services.policy import Policy

_SQL = sql.load("facts")
SECRETS = ("doc-7f3a", "https://intranet.example/salaries", "Pay 2026", "everybody earns the same", "the blue binder")
DOCUMENTS = [
    {"id": SECRETS[0], "source": SECRETS[1], "title": SECRETS[2], "trust": "internal", "text": SECRETS[3]},
    {"id": "second", "source": SECRETS[4], "trust": "upload", "text": "ä€𝄞"},
    {"id": "third", "text": ""},
    {"id": "fourth", "source": "http://[half", "trust": "web", "text": "x"},
]


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


async def sources(flow: Flow) -> list[dict[str, Any]]:
    return [dict(row) for row in await flow.host.pool.fetch(_SQL["source"])]


async def test_each_document_is_a_row_of_digests(flow: Flow) -> None:
    record_id, chain = await flow.decided(job("Which binder?", documents=DOCUMENTS))
    await seal(flow.recorder, [ended(flow.host, chain[-1], Status.EXPIRED, ErrorCode.DEADLINE_PASSED)])
    key = (await flow.host.keyring.load([record_id]))[record_id]
    rows = await sources(flow)
    told = [(r["position"], r["trust"], r["source_kind"], r["characters"]) for r in rows]
    assert told == [
        (1, "internal", "url", len(SECRETS[3])),
        (2, "upload", "name", 3),
        (3, "untrusted", None, 0),
        (4, "web", "name", 1),
    ]
    for row, document in zip(rows, DOCUMENTS, strict=True):
        assert (row["record_id"], row["tenant"]) == (record_id, "acme")
        assert row["document_digest"] == key.digest(document["id"].encode())
        source = document.get("source")
        assert row["source_digest"] == (None if source is None else key.digest(source.encode()))
    written = "".join(entry.body for entry in chain) + repr(rows)
    assert not [secret for secret in SECRETS if secret in written]


async def test_the_digests_of_a_replay_are_its_own(flow: Flow) -> None:
    original, chain = await flow.decided(job(documents=DOCUMENTS[:1]))
    await seal(flow.recorder, [ended(flow.host, chain[-1], Status.FAILED, ErrorCode.PROVIDER_FAILED)])
    [message] = await take_in(flow.classifier, replay(original))
    again = record_of(message)
    await seal(flow.recorder, [ended(flow.host, (await chain_of(flow.host, again))[-1], Status.EXPIRED)])
    first, second = await sources(flow)
    assert (first["record_id"], second["record_id"]) == (original, again)
    assert first["document_digest"] != second["document_digest"], "two records cannot be told to share a document"
    assert first["characters"] == second["characters"]


async def test_a_job_without_documents_has_no_row(flow: Flow) -> None:
    _, chain = await flow.decided(job())
    await seal(flow.recorder, [ended(flow.host, chain[-1], Status.EXPIRED, ErrorCode.DEADLINE_PASSED)])
    assert await sources(flow) == []
    assert "documents" not in chain[0].content()["data"]
