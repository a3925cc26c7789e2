"""Erasing records: what goes, what stays, and that a crash between any two steps leaves no half."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
import pytest_asyncio
from executor_process import PATIENCE_S, Process, Provider
from support import sql
from support.attempts import COST, answered, claimed, ended, held, put_aside
from support.erasing import GONE, WHY, ask, erasures, left_of, logged
from support.flow import Flow, chain_of, content, decide, kinds_of, messages_in, results, seal
from support.jobs import cancel, job, published, replay, take_in
from support.servers import OpenHost

from schemas.codes import EntryKind, ErrorCode, Status
from schemas.topics import OUTCOMES
from services.policy import Policy
from services.recorder import erasures as erasing
from services.recorder.late import LateEntries
from services.router.release import Releaser
from services.runtime import ledger, vault
from services.runtime.faultpoints import FaultPoint
from services.runtime.ids import now
from services.runtime.ledger import ChainWriter, verify_chain

_SQL = sql.load("erasure")
OUTPUT = {"choices": [{"message": {"content": "bonjour"}}]}
ERASURE_POINTS = [point for point in FaultPoint if point.startswith("recorder.erasure_")]


class DiedError(Exception):
    """What a test lets happen where a process would be killed."""


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


async def sealed(flow: Flow, key: str = "k1") -> UUID:
    """Return a record that was answered and sealed."""
    record_id, _ = await flow.decided(job(idempotency_key=key, metadata={"order": 7}))
    await seal(flow.recorder, [await answered(flow.host, record_id, OUTPUT)])
    return record_id


async def result_of(flow: Flow, record_id: UUID) -> dict[str, Any]:
    """Return the last result of a record."""
    found: dict[str, Any] = orjson.loads([value for of, value in await results(flow.host, 1) if of == record_id][-1])
    return found


async def test_key_and_content_go_and_the_record_says_so(flow: Flow) -> None:
    record_id, other = await sealed(flow), await sealed(flow, "k2")
    before = await result_of(flow, record_id)
    assert await ask(flow.host, record_id) == {record_id: "asked"}
    assert await erasures(flow).run() == 1
    assert await left_of(flow.host, record_id) == GONE
    assert (await left_of(flow.host, other))["contents"] == 3, "job, request, output"
    [line] = logged(flow.host)
    assert (line.records, line.tenant, line.reason, line.cause) == ((record_id,), "acme", WHY, "record")

    assert await LateEntries(flow.at("recorder"), now).drain() == 1
    chain = await chain_of(flow.host, record_id)
    assert [entry.kind for entry in chain][-2:] == ["sealed", "erased"]
    assert verify_chain(chain) is None
    data = chain[-1].content()["data"]
    assert data["cause"] == "record"
    assert WHY not in chain[-1].body, "people's free text can name somebody"

    # Published again: the same ending, without content, and no second run.
    await seal(flow.recorder, await take_in(flow.classifier, job(idempotency_key="k1", metadata={"order": 7})))
    after = await result_of(flow, record_id)
    assert after == {**before, "erased": True, "output": None, "idempotency_key": None, "metadata": {}}
    assert await ask(flow.host, record_id) == {record_id: "erased_before"}
    assert await erasures(flow).run() == 0


@pytest.mark.parametrize("point", ERASURE_POINTS)
async def test_what_a_crash_interrupted_is_completed_once(
    flow: Flow, point: FaultPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [await sealed(flow, f"k{n}") for n in range(3)]

    def die(reached: FaultPoint) -> None:
        if reached is point:
            raise DiedError

    await ask(flow.host, *records)
    with monkeypatch.context() as patched:
        patched.setattr(erasing, "reach", die)
        with pytest.raises(DiedError):
            await erasures(flow).run()
    assert logged(flow.host), "nothing is destroyed before it is in the log"
    assert await erasures(flow).run() == 3
    assert await LateEntries(flow.at("recorder"), now).drain() == 3
    for record_id in records:
        assert await left_of(flow.host, record_id) == GONE
        assert (await kinds_of(flow.host, record_id)).count("erased") == 1
    assert await erasures(flow).run() == 0


async def test_recorders_at_the_same_time_erase_each_once(flow: Flow) -> None:
    records = [await sealed(flow, f"k{n}") for n in range(8)]
    await ask(flow.host, *records)
    await asyncio.gather(*(erasures(flow).run() for _ in range(4)))
    while await LateEntries(flow.at("recorder"), now).drain():
        pass
    for record_id in records:
        assert await left_of(flow.host, record_id) == GONE
        assert (await kinds_of(flow.host, record_id)).count("erased") == 1


async def test_nothing_is_destroyed_while_the_log_cannot_be_written(flow: Flow) -> None:
    record_id = await sealed(flow)
    folder = flow.host.settings.erasure_log
    os.makedirs(folder)  # where the file should be
    await ask(flow.host, record_id)
    assert await erasures(flow).run() == 0
    assert (await left_of(flow.host, record_id))["keys"] == 1
    assert flow.host.telemetry.events.labels("erasure_log_failed")._value.get() == 1
    os.rmdir(folder)
    assert await erasures(flow).run() == 1
    assert await left_of(flow.host, record_id) == GONE


async def test_a_familys_records_are_erased_together(flow: Flow) -> None:
    """The original, a replay of it, and the replay's replay; whichever is named."""
    for named in range(3):
        key = f"k{named}"
        [message] = await take_in(flow.classifier, job(idempotency_key=key))
        family = [UUID(content(message)["record_id"])]
        for _ in range(2):
            await take_in(flow.classifier, cancel(key))
            await seal(flow.recorder, await decide(flow.router, [message]))
            [message] = await take_in(flow.classifier, replay(family[-1]))
            family.append(UUID(content(message)["record_id"]))
        assert await ask(flow.host, family[named]) == dict.fromkeys(family, "asked")
        assert await erasures(flow).run() == 3
        for record_id in family:
            assert await left_of(flow.host, record_id) == GONE
        causes = [(await flow.host.pool.fetchrow(_SQL["erasure"], r))["cause"] for r in family]  # type: ignore[index]
        assert causes == ["record" if place == named else "replay" for place in range(3)]


async def test_a_replay_in_flight_is_found_or_refused(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The original was read before the erasure was asked for; the replay commits after it."""
    record_id = await sealed(flow)
    read, go_on = asyncio.Event(), asyncio.Event()
    preparation = flow.classifier._preparation
    originals = preparation._originals

    async def slow(replays: Any) -> Any:
        found = await originals(replays)
        read.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(preparation, "_originals", slow)
    taking = asyncio.create_task(take_in(flow.classifier, replay(record_id)))
    await read.wait()
    await ask(flow.host, record_id)
    assert await erasures(flow).run() == 1
    go_on.set()
    [outcome] = await taking
    assert content(outcome)["error"] == {"code": "content_erased", "field": "record_id"}
    assert await left_of(flow.host, UUID(content(outcome)["record_id"])) == GONE


async def test_a_held_record_ends(flow: Flow, policy: Policy) -> None:
    record_id, _ = await flow.decided(job(idempotency_key="k1"))
    await held(flow.host, record_id, claim=await claimed(flow.host, record_id), deadline=timedelta(days=3))
    await ask(flow.host, record_id)
    assert await erasures(flow).run() == 1
    assert await Releaser(flow.at("router"), policy, now).release_due() == 1
    [(_, outcome)] = await messages_in(flow.host, OUTCOMES, 1)
    await flow.recorder.run([flow.recorder.read(published(outcome))])
    result = await result_of(flow, record_id)
    assert (result["status"], result["error"]["code"], result["erased"]) == ("cancelled", "content_erased", True)
    assert await LateEntries(flow.at("recorder"), now).drain() == 1
    chain = await chain_of(flow.host, record_id)
    assert [entry.kind for entry in chain][-3:] == ["released", "sealed", "erased"]
    assert chain[-3].content()["data"]["verdict"] == "erased"
    assert verify_chain(chain) is None


async def test_an_unsealed_record_is_not_called_for_and_ends(flow: Flow, host: OpenHost, tmp_path: Path) -> None:
    record_id, chain = await flow.decided(job())
    await ask(flow.host, record_id)  # nothing is deleted yet, and it has no content already
    provider = Provider()
    process = Process(await host("executor"), tmp_path / "spool", provider)
    message = flow.host.wakeups.for_chain(chain)
    assert message is not None
    outcome = await process.carry(message)
    assert outcome is not None
    assert provider.calls == 0
    assert content(outcome)["error"]["code"] == ErrorCode.CONTENT_ERASED
    await seal(flow.recorder, [outcome])
    assert (await result_of(flow, record_id))["error"]["code"] == "content_erased"


async def test_an_answer_that_comes_after_the_erasure_leaves_its_cost_and_no_content(
    flow: Flow, host: OpenHost, tmp_path: Path
) -> None:
    record_id, _ = await flow.decided(job())
    provider = Provider()
    process = Process(await host("executor"), tmp_path / "spool", provider)
    await process.lease.start()
    working = asyncio.create_task(process.work(record_id))
    async with asyncio.timeout(PATIENCE_S):
        await provider.called.wait()
        await ask(flow.host, record_id)
        assert await erasures(flow).run() == 1
        provider.answers.set()
        outcome = await working
    assert outcome is not None
    assert await left_of(flow.host, record_id) == GONE
    await seal(flow.recorder, [outcome])
    result = await result_of(flow, record_id)
    assert (result["status"], result["error"]["code"], result["output"]) == ("cancelled", "content_erased", None)
    assert Decimal(result["cost_usd"]) > 0, "it was paid"
    await process.lease.stop()


async def test_an_answer_put_aside_after_the_erasure_leaves_its_cost(flow: Flow) -> None:
    record_id, _ = await flow.decided(job())
    claim = await claimed(flow.host, record_id)
    await seal(flow.recorder, [ended(flow.host, claim, Status.FAILED, ErrorCode.PROVIDER_FAILED)])
    await ask(flow.host, record_id)
    await erasures(flow).run()
    await put_aside(flow.host, claim)
    assert await LateEntries(flow.at("recorder"), now).drain() == 2
    chain = await chain_of(flow.host, record_id)
    assert sorted(entry.kind for entry in chain[-2:]) == ["erased", "late_result"]
    assert verify_chain(chain) is None
    assert COST in next(entry for entry in chain if entry.kind == "late_result").body


async def test_nothing_is_stored_for_a_record_on_the_list(flow: Flow) -> None:
    """By whoever still has its key: beside an append, or within it."""
    record_id, chain = await flow.decided(job())
    await ask(flow.host, record_id)
    await erasures(flow).run()
    piece = vault.Content(record_id, uuid4(), vault.REQUEST, b"late")
    async with flow.host.pool.acquire() as writer, writer.transaction():
        await writer.execute(_SQL["write_something"], record_id)
        await vault.store(writer, [piece])
    assert await left_of(flow.host, record_id) == GONE
    late = ChainWriter(record_id, chain[-1].head)
    late.add(EntryKind.ATTEMPT_STARTED, {}, now())
    async with flow.host.pool.acquire() as writer:
        assert await ledger.append(writer, [ledger.writes(late, chain[-1].head, now())], [piece]) == {}
    assert await left_of(flow.host, record_id) == GONE


async def test_an_erasure_waits_for_whoever_may_still_store_content(flow: Flow) -> None:
    """A vault write in an open transaction that looked at the list before the erasure was asked for."""
    record_id = await sealed(flow)
    async with flow.host.pool.acquire() as writer:
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute(_SQL["write_something"], record_id)
        piece = vault.Content(record_id, uuid4(), vault.OUTPUT, b"late")
        await vault.store(writer, [piece])
        await ask(flow.host, record_id)
        assert await erasures(flow).run() == 0, "it is not known whether the writer has seen the list"
        assert (await left_of(flow.host, record_id))["keys"] == 1
        # Whoever begins later has.
        async with flow.host.pool.acquire() as late, late.transaction():
            await late.execute(_SQL["write_something"], uuid4())
            await vault.store(late, [piece._replace(entry_id=uuid4())])
        await transaction.commit()
    assert await erasures(flow).run() == 1
    assert await left_of(flow.host, record_id) == GONE
