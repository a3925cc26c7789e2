"""Releasing held records: by verdict, cancel, deadline or due time, by one router only, and never a later hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from support.attempts import claimed, held
from support.flow import Flow, chain_of, kinds_of, messages_in
from support.jobs import cancel, job, published, take_in
from support.servers import OpenHost

from schemas.codes import EntryKind
from schemas.result import Notice
from schemas.topics import OUTCOMES, RESULTS, ROUTED_BACKGROUND
from services.policy import Policy
from services.router.release import AT_ONCE, Releaser
from services.runtime import queries
from services.runtime.ids import now

_CLI = queries.load("cli_records")


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


@pytest.fixture
def releaser(flow: Flow, policy: Policy) -> Releaser:
    return Releaser(flow.at("router"), policy, now)


async def in_doubt(flow: Flow, key: str = "k1", **hold: timedelta) -> tuple[UUID, int]:
    """Return a record that is held after a claim without an answer, and the position of the hold."""
    record_id, _ = await flow.decided(job(idempotency_key=key))
    claim = await claimed(flow.host, record_id)
    entry = await held(flow.host, record_id, claim=claim, **hold)
    return record_id, entry.seq


async def verdict(flow: Flow, record_id: UUID, seq: int, word: str) -> bool:
    return bool(await flow.host.pool.fetch(_CLI["set_verdict"], record_id, seq, word))


async def released(flow: Flow, record_id: UUID) -> dict[str, object]:
    chain = await chain_of(flow.host, record_id)
    found: dict[str, object] = next(e for e in reversed(chain) if e.kind == EntryKind.RELEASED).content()["data"]
    return found


async def sent(flow: Flow, topic: object, count: int) -> Counter[str]:
    return Counter(key.decode() for key, _ in await messages_in(flow.host, topic, count))  # type: ignore[arg-type]


async def test_what_is_neither_due_nor_decided_waits(flow: Flow, releaser: Releaser) -> None:
    record_id, _ = await in_doubt(flow)
    later, _ = await in_doubt(flow, "k2", due=timedelta(hours=1))
    assert await releaser.release_due() == 0
    assert [(await kinds_of(flow.host, r))[-1] for r in (record_id, later)] == ["held", "held"]


@pytest.mark.parametrize("word", ["retry", "not_charged"])
async def test_a_verdict_to_go_on_brings_a_new_decision(flow: Flow, releaser: Releaser, word: str) -> None:
    record_id, seq = await in_doubt(flow)
    assert await verdict(flow, record_id, seq, word)
    assert await releaser.release_due() == 1
    assert (await kinds_of(flow.host, record_id))[seq:] == ["held", "released", "decided"]
    assert await released(flow, record_id) == {
        "verdict": word,
        "actor": urlsplit(flow.host.settings.database_url).username,
    }
    assert await sent(flow, ROUTED_BACKGROUND, 1) == Counter([str(record_id)])
    assert await releaser.release_due() == 0


async def test_a_backend_that_asks_for_it_is_told_of_the_release(flow: Flow, releaser: Releaser) -> None:
    record_id, _ = await flow.decided(job(idempotency_key="k1", notify="all"))
    entry = await held(flow.host, record_id, claim=await claimed(flow.host, record_id))
    assert await verdict(flow, record_id, entry.seq, "retry")
    assert await releaser.release_due() == 1
    [(_, value)] = await messages_in(flow.host, RESULTS, 1)
    told = Notice.model_validate_json(value)
    assert (told.event, told.record_id, told.reason) == ("released", record_id, "retry")


async def test_a_verdict_charged_ends_the_record(flow: Flow, releaser: Releaser) -> None:
    record_id, seq = await in_doubt(flow)
    assert await verdict(flow, record_id, seq, "charged")
    assert await releaser.release_due() == 1
    [(_, value)] = await messages_in(flow.host, OUTCOMES, 1)
    await flow.recorder.run([flow.recorder.read(published(value))])
    assert (await kinds_of(flow.host, record_id))[seq:] == ["held", "released", "sealed"]
    sealed = (await chain_of(flow.host, record_id))[-1].content()["data"]
    assert (sealed["status"], sealed["error"]["code"]) == ("failed", "in_doubt")


async def test_a_verdict_names_its_hold_and_never_lands_on_a_later_one(flow: Flow, releaser: Releaser) -> None:
    record_id, seq = await in_doubt(flow)
    assert await verdict(flow, record_id, seq, "retry")
    assert not await verdict(flow, record_id, seq, "charged"), "it has a verdict already"
    await releaser.release_due()
    again = await held(flow.host, record_id)
    assert again.seq > seq
    assert not await verdict(flow, record_id, seq, "charged"), "that hold is over"
    assert await releaser.release_due() == 0
    assert (await kinds_of(flow.host, record_id))[-1] == "held"


async def test_a_word_that_is_no_verdict_is_refused_by_the_database(flow: Flow) -> None:
    record_id, seq = await in_doubt(flow)
    for word in ("Retry", "ok", "cancelled", ""):
        with pytest.raises(asyncpg.CheckViolationError):
            await verdict(flow, record_id, seq, word)


async def test_due_time_deadline_and_cancel_release_by_themselves(flow: Flow, releaser: Releaser) -> None:
    past = timedelta(seconds=-5)
    due, _ = await in_doubt(flow, "k1", due=past)
    late, _ = await in_doubt(flow, "k2", due=past, deadline=past)
    cancelled, _ = await in_doubt(flow, "k3", due=past, deadline=past)
    judged, seq = await in_doubt(flow, "k4", deadline=past)
    await take_in(flow.classifier, cancel("k3"), cancel("k4"))
    assert await verdict(flow, judged, seq, "retry")
    assert await releaser.release_due() == 4
    found = {r: (await released(flow, r))["verdict"] for r in (due, late, cancelled, judged)}
    assert found == {due: "due", late: "expired", cancelled: "cancelled", judged: "retry"}
    assert await sent(flow, ROUTED_BACKGROUND, 2) == Counter([str(due), str(judged)])
    outcomes = await messages_in(flow.host, OUTCOMES, 2)
    assert {key.decode() for key, _ in outcomes} == {str(late), str(cancelled)}
    await flow.recorder.run([flow.recorder.read(published(value)) for _, value in outcomes])
    assert {(await kinds_of(flow.host, r))[-1] for r in (late, cancelled)} == {"sealed"}


async def test_routers_at_the_same_time_release_each_record_once(flow: Flow, host: OpenHost, policy: Policy) -> None:
    count = AT_ONCE + 40
    records = [(await in_doubt(flow, f"k{n}", due=timedelta(seconds=-5)))[0] for n in range(count)]
    others = [Releaser(await host("router"), policy, now) for _ in range(4)]

    async def until_nothing_is_due(releaser: Releaser) -> int:
        total = 0
        while looked_at := await releaser.release_due():
            total += looked_at
        return total

    totals = await asyncio.gather(*(until_nothing_is_due(other) for other in others))
    assert sum(totals) == count
    assert await sent(flow, ROUTED_BACKGROUND, count) == Counter(str(record_id) for record_id in records)
    assert {tuple(await kinds_of(flow.host, record_id))[-2:] for record_id in records} == {("released", "decided")}


async def test_a_release_that_did_not_commit_leaves_the_hold(flow: Flow, policy: Policy) -> None:
    record_id, _ = await in_doubt(flow, due=timedelta(seconds=-5))

    class Broken(Policy):
        def decide(self, features: object, limits: object = None) -> object:  # type: ignore[override]
            raise ConnectionResetError

    broken = Releaser(flow.at("router"), Broken(policy.bundle, policy.catalog, policy.aliases), now)
    with pytest.raises(ConnectionResetError):
        await broken.release_due()
    assert (await kinds_of(flow.host, record_id))[-1] == "held"
    assert await Releaser(flow.at("router"), policy, now).release_due() == 1
