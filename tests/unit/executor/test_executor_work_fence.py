"""The fence: what the executor does where others work, or have worked, on the same record."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from executor_bench import BUSY, FINISHED, HELD, LOST, STARTED, VALIDATED, Bench, ignore
from executor_builders import ALPHA, BETA, NOW, a_job, some_orders
from executor_fake_ledger import Outcome, an_answer

from schemas.codes import EntryKind, ErrorCode, Status, Verdict
from schemas.messages import Head
from services.executor.work import Work
from services.runtime import vault
from services.runtime.ledger import Entry

# -- others -------------------------------------------------------------------------------------------------------


async def test_another_s_live_claim_is_left_to_it(bench: Bench) -> None:
    other = uuid4()
    bench.lease.others = {other}
    bench.ledger.before_append[STARTED] = lambda: ignore(bench.ledger.claimed_by(other))

    assert await bench.run() is None
    assert bench.ledger.kinds == [STARTED]
    assert bench.routes.calls == []
    assert bench.ledger.asides == []


async def test_another_s_expired_claim_is_in_doubt_and_stays_open(bench: Bench) -> None:
    bench.ledger.before_append[STARTED] = lambda: ignore(bench.ledger.claimed_by(uuid4()))

    outcome = await bench.run(an_answer())

    bench.ends(outcome, Status.SUCCEEDED)
    assert bench.ledger.kinds == [STARTED, STARTED, FINISHED, VALIDATED]
    assert [data["may_double_pay"] for data in bench.ledger.data(STARTED)] == [False, True]
    assert [data["attempt"] for data in bench.ledger.data(STARTED)] == [1, 2]
    assert bench.ledger.data(FINISHED)[0]["claim"] == str(bench.ledger.chain[4].entry_id)
    assert bench.events == ["claim_in_doubt"]


async def test_a_claim_past_its_own_deadline_is_in_doubt_though_its_worker_lives(bench: Bench) -> None:
    other = uuid4()
    bench.lease.others = {other}
    bench.ledger.before_append[STARTED] = lambda: ignore(bench.ledger.claimed_by(other, deadline=NOW))

    bench.ends(await bench.run(an_answer()), Status.SUCCEEDED)
    assert bench.events == ["claim_in_doubt"]


async def test_an_expired_claim_over_the_cap_is_held(bench: Bench) -> None:
    bench.in_doubt_cap_usd = Decimal(0)
    claims: list[Entry] = []
    bench.ledger.before_append[STARTED] = lambda: claims.append(bench.ledger.claimed_by(uuid4()))

    assert await bench.run() is None
    assert bench.ledger.kinds == [STARTED, HELD]
    assert bench.ledger.data(HELD)[0]["claim"] == str(claims[0].entry_id)
    assert bench.routes.calls == []


async def test_a_record_that_somebody_carried_on_is_left(bench: Bench) -> None:
    def carried_on() -> None:
        bench.ledger.claimed_by(uuid4())
        bench.ledger.add(HELD, {"reason": "in_doubt", "due": None, "claim": None})

    bench.ledger.before_append[STARTED] = carried_on

    assert await bench.run() is None
    assert bench.ledger.kinds == [STARTED, HELD]
    assert bench.routes.calls == []


async def test_a_claim_met_while_holding_is_not_held_over(bench: Bench) -> None:
    other = uuid4()
    bench.lease.others = {other}
    bench.in_doubt_cap_usd = Decimal(0)
    bench.ledger.before_append[HELD] = lambda: ignore(bench.ledger.claimed_by(other, may_double_pay=True))

    assert await bench.run(LOST) is None
    assert bench.ledger.kinds == [STARTED, FINISHED, STARTED]
    assert bench.ledger.held == []


async def test_a_redelivery_while_our_own_call_is_under_way_adds_nothing(bench: Bench) -> None:
    decided = bench.ledger.chain[-1]
    again: list[object] = []

    async def redelivered() -> None:
        again.append(await bench.work(decided).run())

    bench.routes.while_calling = redelivered

    bench.ends(await bench.run(an_answer()), Status.SUCCEEDED)
    assert again == [None]
    assert len(bench.routes.calls) == 1


# -- fenced -------------------------------------------------------------------------------------------------------


async def test_fenced_while_calling_the_answer_goes_aside_with_its_cost(bench: Bench) -> None:
    bench.routes.while_calling = lambda: ignore(bench.ledger.claimed_by(uuid4(), may_double_pay=True))

    assert await bench.run(an_answer(output_tokens=7)) is None
    assert bench.ledger.kinds == [STARTED, STARTED]
    (aside,) = bench.ledger.asides
    claim = bench.ledger.chain[3].entry_id
    assert aside.kind == EntryKind.LATE_RESULT
    assert aside.data["claim"] == str(claim)
    assert (aside.data["outcome"], aside.data["cost_usd"]) == ("ok", "0.0007")
    assert aside.data["worker"] == str(bench.lease.worker)
    assert aside.data["route"] == ALPHA.model_dump(mode="json")
    assert aside.content is not None
    assert aside.content.entry_id == aside.entry_id
    assert bench.ledger.key.decrypt(aside.entry_id, vault.OUTPUT, aside.content.ciphertext)
    assert bench.ledger.contents == []


async def test_fenced_with_a_failure_its_cost_goes_aside(bench: Bench) -> None:
    bench.routes.while_calling = lambda: ignore(bench.ledger.claimed_by(uuid4(), may_double_pay=True))

    assert await bench.run(BUSY) is None
    (aside,) = bench.ledger.asides
    assert (aside.data["outcome"], aside.data["failure_class"], aside.data["cost_usd"]) == ("failed", "overloaded", "0")
    assert aside.content is None


async def test_fenced_without_having_learned_anything_nothing_goes_aside(bench: Bench) -> None:
    bench.routes.while_calling = lambda: ignore(bench.ledger.claimed_by(uuid4(), may_double_pay=True))

    assert await bench.run(LOST) is None
    assert bench.ledger.asides == []
    assert bench.counted("answer_put_aside") == 1


async def test_fenced_and_erased_meanwhile_only_its_cost_goes_aside(bench: Bench) -> None:
    def erased_and_taken() -> None:
        bench.ledger.job = None
        bench.ledger.claimed_by(uuid4(), may_double_pay=True)

    bench.routes.while_calling = erased_and_taken

    assert await bench.run(an_answer(output_tokens=7)) is None
    (aside,) = bench.ledger.asides
    assert (aside.data["outcome"], aside.data["cost_usd"]) == ("ok", "0.0007")
    assert aside.content is None


# -- ambiguous commits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [STARTED, FINISHED])
async def test_finding_one_s_own_entry_settles_an_ambiguous_commit(bench: Bench, kind: EntryKind) -> None:
    bench.ledger.ambiguous = {kind}

    bench.ends(await bench.run(BUSY, an_answer()), Status.SUCCEEDED)
    assert bench.ledger.kinds == [STARTED, FINISHED, STARTED, FINISHED, VALIDATED]
    assert len(bench.routes.calls) == 2
    assert bench.ledger.asides == []


async def test_an_ambiguous_answer_is_sealed_once(bench: Bench) -> None:
    bench.ledger.ambiguous = {FINISHED}

    bench.ends(await bench.run(an_answer()), Status.SUCCEEDED)
    assert bench.ledger.kinds == [STARTED, FINISHED, VALIDATED]
    assert len(bench.ledger.contents) == 1


async def test_an_ambiguous_hold_is_one_hold(bench: Bench) -> None:
    bench.ledger.ambiguous = {HELD}

    assert await bench.run(LOST, LOST) is None
    assert bench.ledger.kinds[-1] == HELD
    assert len(bench.ledger.held) == 1


async def test_one_s_own_failure_that_others_went_past_is_not_gone_on_from(bench: Bench) -> None:
    def committed_and_passed() -> None:
        bench.ledger.before_append[FINISHED] = lambda: ignore(bench.ledger.claimed_by(uuid4()))

    bench.ledger.before_append[FINISHED] = committed_and_passed
    bench.ledger.ambiguous = {FINISHED}

    assert await bench.run(BUSY) is None
    assert bench.ledger.kinds == [STARTED, FINISHED, STARTED]
    assert bench.ledger.asides == []
    assert len(bench.routes.calls) == 1


async def test_one_s_own_claim_that_others_went_past_is_not_called_for(bench: Bench) -> None:
    # Committed, the answer lost, and paused so long that another took it for lost.
    def committed_and_passed() -> None:
        bench.ledger.before_append[STARTED] = lambda: ignore(bench.ledger.claimed_by(uuid4(), may_double_pay=True))

    bench.ledger.before_append[STARTED] = committed_and_passed
    bench.ledger.ambiguous = {STARTED}

    assert await bench.run() is None
    assert bench.ledger.kinds == [STARTED, STARTED]
    assert bench.routes.calls == []


# -- resuming -----------------------------------------------------------------------------------------------------


async def test_resuming_behind_a_dead_worker_s_claim(bench: Bench) -> None:
    head = bench.ledger.claimed_by(uuid4())

    bench.ends(await bench.run(an_answer(), head=head, resume=True), Status.SUCCEEDED)
    assert [data["may_double_pay"] for data in bench.ledger.data(STARTED)] == [False, True]


async def test_resuming_at_a_live_worker_s_claim_does_nothing(bench: Bench) -> None:
    other = uuid4()
    bench.lease.others = {other}
    head = bench.ledger.claimed_by(other)

    assert await bench.run(head=head, resume=True) is None
    assert bench.ledger.kinds == [STARTED]


async def test_resuming_after_a_failure_counts_what_was_tried(bench: Bench) -> None:
    bench.orders = some_orders((BETA, ["timeout_or_5xx"]), max_attempts=3)
    await _crash_after(bench, FINISHED, BUSY, BUSY)
    calls = len(bench.routes.calls)

    bench.ends(await bench.run(BUSY, BUSY, resume=True), Status.FAILED, ErrorCode.PROVIDER_FAILED)
    assert [data["attempt"] for data in bench.ledger.data(STARTED)] == [1, 2, 3]
    assert len(bench.routes.calls) - calls == 1
    assert bench.routes.calls[-1][0] == BETA


async def test_resuming_after_the_answer_only_tells_the_recorder(bench: Bench) -> None:
    await bench.run(an_answer())
    calls = len(bench.routes.calls)

    bench.ends(await bench.run(resume=True), Status.SUCCEEDED)
    bench.ledger.job = None  # erased since
    bench.ends(await bench.run(resume=True), Status.SUCCEEDED)
    assert len(bench.routes.calls) == calls


async def test_resuming_after_a_failed_check_tells_the_same(bench: Bench) -> None:
    bench.ledger.job = a_job(response_format={"type": "json_object"})
    await bench.run(an_answer("no JSON"))

    bench.ends(await bench.run(resume=True), Status.FAILED, ErrorCode.VALIDATION_FAILED)


async def test_resuming_from_a_head_that_is_not_the_last_does_nothing(bench: Bench) -> None:
    head = bench.ledger.claimed_by(uuid4())
    bench.ledger.claimed_by(uuid4(), may_double_pay=True)

    assert await bench.run(head=head, resume=True) is None
    assert bench.routes.calls == []


async def test_resuming_from_a_head_of_another_chain_does_nothing(bench: Bench) -> None:
    work = bench.work(resume=True)
    other = work.message.model_copy(update={"head": Head(seq=2, hash="0" * 64)})

    assert await Work(work.tools, other).run() is None
    assert bench.ledger.kinds == []


async def test_after_a_verdict_the_new_decision_goes_on_without_doubt(bench: Bench) -> None:
    bench.in_doubt_cap_usd = Decimal(0)
    await bench.run(LOST)
    bench.ledger.add(EntryKind.RELEASED, {"verdict": Verdict.RETRY, "actor": "anna"})
    head = bench.ledger.add(EntryKind.DECIDED, {"decision": {}})

    bench.ends(await bench.run(an_answer(), head=head, resume=True), Status.SUCCEEDED)
    assert [data["may_double_pay"] for data in bench.ledger.data(STARTED)] == [False, False]


async def test_a_message_that_comes_again_after_all_was_done_does_nothing(bench: Bench) -> None:
    decided = bench.ledger.chain[-1]
    await bench.run(an_answer())
    before = list(bench.ledger.chain)

    assert await bench.run(head=decided) is None
    assert bench.ledger.chain == before
    assert len(bench.routes.calls) == 1


# -- the lease ----------------------------------------------------------------------------------------------------


async def test_a_claim_waits_for_the_lease(bench: Bench) -> None:
    bench.lease.valid = False

    bench.ends(await bench.run(an_answer()), Status.SUCCEEDED)
    assert bench.lease.waited == 1


async def test_a_lease_lost_between_claim_and_call_means_no_call(bench: Bench) -> None:
    def lose_the_lease() -> None:
        bench.lease.valid = False

    bench.ledger.before_append[STARTED] = lose_the_lease

    bench.ends(await bench.run(an_answer()), Status.SUCCEEDED)
    unsent, answered = bench.ledger.data(FINISHED)
    assert (unsent["outcome"], unsent["failure_class"], unsent["cost_usd"]) == ("failed", "timeout_unsent", "0")
    assert answered["outcome"] == "ok"
    assert len(bench.routes.calls) == 1
    assert [data["may_double_pay"] for data in bench.ledger.data(STARTED)] == [False, False]


async def test_a_claim_whose_time_its_commit_has_used_up_means_no_call(bench: Bench) -> None:
    # The database took a minute to store it: others would hold it for lost while the call is under way.
    def take_long() -> None:
        bench.clock.now += timedelta(minutes=1)

    bench.ledger.before_append[STARTED] = take_long

    bench.ends(await bench.run(an_answer()), Status.SUCCEEDED)
    assert [data["failure_class"] for data in bench.ledger.data(FINISHED)] == ["timeout_unsent", None]
    assert len(bench.routes.calls) == 1


async def test_being_cut_off_while_calling_leaves_the_claim_open(bench: Bench) -> None:
    calling = asyncio.Event()

    async def never_end() -> None:
        calling.set()
        await asyncio.Event().wait()

    bench.routes.while_calling = never_end
    working = asyncio.create_task(bench.run(an_answer()))
    await calling.wait()
    working.cancel()

    with pytest.raises(asyncio.CancelledError):
        await working
    assert bench.ledger.kinds == [STARTED]
    assert bench.ledger.asides == []


async def test_an_answer_that_is_cut_off_is_in_the_spool_at_once_where_the_database_is_away(bench: Bench) -> None:
    def be_cut_off() -> None:
        raise asyncio.CancelledError

    bench.ledger.before_append[FINISHED] = be_cut_off
    bench.ledger.away = True
    with pytest.raises(asyncio.CancelledError):
        await bench.run(an_answer())

    (answer,) = bench.spool.kept
    assert answer.claim == bench.ledger.chain[3].entry_id
    assert bench.spool.at_once == [True]


async def test_an_answer_that_is_put_aside_is_in_the_spool_when_that_is_cut_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def be_cut_off(aside: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(bench.ledger, "put_aside", be_cut_off)
    bench.routes.while_calling = lambda: ignore(bench.ledger.claimed_by(uuid4(), may_double_pay=True))
    with pytest.raises(asyncio.CancelledError):
        await bench.run(an_answer())

    assert len(bench.spool.kept) == 1
    assert bench.spool.at_once == [False]


async def _crash_after(bench: Bench, kind: EntryKind, *outcomes: Outcome) -> None:
    """Run until the outcomes are used up, and die there: the chain ends with an entry of that kind."""
    with pytest.raises(IndexError):
        await bench.run(*outcomes)
    while bench.ledger.chain[-1].kind != kind:
        bench.ledger.chain.pop()
