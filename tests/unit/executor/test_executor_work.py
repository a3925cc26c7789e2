"""One record's way through the executor: answers, failures, doubt, endings."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import orjson
import pytest
from executor_bench import BUSY, FINISHED, HELD, LOST, REFUSED, STARTED, VALIDATED, Bench
from executor_builders import ALPHA, BETA, DEADLINE, NOW, a_job, some_orders
from executor_fake_ledger import RECORD, Outcome, an_answer

from schemas.codes import ErrorCode, FailureClass, Status
from schemas.result import Notice
from services.executor.adapter import Failure
from services.executor.transport import Broken
from services.runtime import vault

# -- the plain way ------------------------------------------------------------------------------------------------


async def test_an_answer_is_claimed_recorded_and_sealed(bench: Bench) -> None:
    outcome = await bench.run(an_answer())

    bench.ends(outcome, Status.SUCCEEDED)
    assert bench.ledger.kinds == [STARTED, FINISHED, VALIDATED]
    (started,), (finished,) = bench.ledger.data(STARTED), bench.ledger.data(FINISHED)
    claim = bench.ledger.chain[3].entry_id
    assert bench.routes.calls == [(ALPHA, claim)]
    assert started["worker"] == str(bench.lease.worker)
    assert (started["attempt"], started["fallback"], started["may_double_pay"]) == (1, False, False)
    assert started["request_digest"] == bench.ledger.key.digest(ALPHA.name.encode())
    assert datetime.fromisoformat(started["attempt_deadline"]) > NOW + timedelta(seconds=120)
    assert finished["claim"] == str(claim)
    assert (finished["outcome"], finished["failure_class"], finished["cost_usd"]) == ("ok", None, "0.0003")
    assert (finished["provider_request_id"], finished["http_status"]) == ("r-1", 200)


async def test_the_answer_is_kept_under_the_entry_whose_digest_covers_it(bench: Bench) -> None:
    await bench.run(an_answer("Because."))

    (content,), entry = bench.ledger.contents, bench.ledger.chain[4]
    output = bench.ledger.key.decrypt(entry.entry_id, vault.OUTPUT, content.ciphertext)
    assert orjson.loads(output) == {"choices": [{"message": {"content": "Because."}}]}
    assert content[:3] == (RECORD, entry.entry_id, vault.OUTPUT)
    data = entry.content()["data"]
    assert (data["output_entry"], data["output_digest"]) == (str(entry.entry_id), bench.ledger.key.digest(output))


async def test_every_request_is_kept_as_sent_under_the_claim_whose_digest_covers_it(bench: Bench) -> None:
    await bench.run(BUSY, an_answer())

    claims = [entry for entry in bench.ledger.chain if entry.kind == STARTED]
    assert [content[:3] for content in bench.ledger.requests] == [(RECORD, c.entry_id, vault.REQUEST) for c in claims]
    for claim, content, (route, _) in zip(claims, bench.ledger.requests, bench.routes.calls, strict=True):
        sent = bench.ledger.key.decrypt(claim.entry_id, vault.REQUEST, content.ciphertext)
        assert sent == route.name.encode()
        assert claim.content()["data"]["request_digest"] == bench.ledger.key.digest(sent)


async def test_no_entry_holds_what_was_asked_or_answered(bench: Bench) -> None:
    bench.ledger.job = a_job(messages=[{"role": "user", "content": "a secret question"}])
    await bench.run(BUSY, an_answer("a secret answer"))

    assert "secret" not in "".join(entry.body for entry in bench.ledger.chain)


async def test_a_failed_check_ends_the_record(bench: Bench) -> None:
    bench.ledger.job = a_job(response_format={"type": "json_object"})

    outcome = await bench.run(an_answer("no JSON"))

    bench.ends(outcome, Status.FAILED, ErrorCode.VALIDATION_FAILED)
    assert bench.ledger.data(VALIDATED)[0]["passed"] is False


# -- failures -----------------------------------------------------------------------------------------------------


async def test_a_failure_is_tried_again_after_a_while(bench: Bench) -> None:
    outcome = await bench.run(BUSY, an_answer())

    bench.ends(outcome, Status.SUCCEEDED)
    assert bench.ledger.kinds == [STARTED, FINISHED, STARTED, FINISHED, VALIDATED]
    assert [data["attempt"] for data in bench.ledger.data(STARTED)] == [1, 2]
    failed = bench.ledger.data(FINISHED)[0]
    assert (failed["outcome"], failed["failure_class"], failed["cost_usd"]) == ("failed", "overloaded", "0")
    assert bench.clock.waits == [0.25]
    assert len({claim for _, claim in bench.routes.calls}) == 2


async def test_the_provider_is_waited_for_as_it_asks(bench: Bench) -> None:
    await bench.run(Failure(FailureClass.RATE_LIMITED, retry_after_ms=7_000), an_answer())

    assert bench.clock.waits == [7.0]
    assert bench.ledger.data(FINISHED)[0]["retry_after_ms"] == 7_000


async def test_after_two_failures_the_fallback_is_taken(bench: Bench) -> None:
    bench.orders = some_orders((BETA, ["timeout_or_5xx"]))

    outcome = await bench.run(BUSY, BUSY, an_answer())

    bench.ends(outcome, Status.SUCCEEDED)
    assert [route for route, _ in bench.routes.calls] == [ALPHA, ALPHA, BETA]
    assert [data["fallback"] for data in bench.ledger.data(STARTED)] == [False, False, True]


async def test_all_attempts_may_fail(bench: Bench) -> None:
    bench.orders = some_orders(max_attempts=3)

    outcome = await bench.run(BUSY, BUSY, BUSY)

    bench.ends(outcome, Status.FAILED, ErrorCode.PROVIDER_FAILED)
    assert len(bench.routes.calls) == 3


async def test_a_refusal_ends_it_with_its_cost(bench: Bench) -> None:
    bench.orders = some_orders((BETA, ["refused"]))
    usage = an_answer(output_tokens=5).usage

    outcome = await bench.run(Failure(FailureClass.REFUSED, usage, finish_reason="stop"))

    bench.ends(outcome, Status.FAILED, ErrorCode.MODEL_REFUSED)
    assert bench.ledger.data(FINISHED)[0]["cost_usd"] == "0.0005"


@pytest.mark.parametrize(
    ("outcome", "cost"),
    [
        (Broken(FailureClass.UNAVAILABLE), "0"),
        (Broken(FailureClass.TIMEOUT_UNSENT), "0"),
        (Failure(FailureClass.RATE_LIMITED), "0"),
        (Failure(FailureClass.MALFORMED_ANSWER), None),
        (Broken(FailureClass.MALFORMED_ANSWER), None),
        (LOST, None),
    ],
    ids=str,
)
async def test_what_is_not_known_to_be_free_is_not_called_so(bench: Bench, outcome: Outcome, cost: str | None) -> None:
    await bench.run(outcome, REFUSED)

    assert bench.ledger.data(FINISHED)[0]["cost_usd"] == cost


async def test_an_unreadable_answer_may_have_cost_all_that_it_could(bench: Bench) -> None:
    bench.orders = some_orders(max_cost_usd="0.019")

    outcome = await bench.run(Failure(FailureClass.MALFORMED_ANSWER))

    bench.ends(outcome, Status.FAILED, ErrorCode.BUDGET_EXCEEDED)
    assert len(bench.routes.calls) == 1


# -- doubt --------------------------------------------------------------------------------------------------------


async def test_a_lost_answer_is_tried_once_more_and_says_so(bench: Bench) -> None:
    outcome = await bench.run(LOST, an_answer())

    bench.ends(outcome, Status.SUCCEEDED)
    assert [data["outcome"] for data in bench.ledger.data(FINISHED)] == ["lost", "ok"]
    assert [data["may_double_pay"] for data in bench.ledger.data(STARTED)] == [False, True]


async def test_a_second_lost_answer_is_held_for_a_person(bench: Bench) -> None:
    assert await bench.run(LOST, LOST) is None

    assert bench.ledger.kinds == [STARTED, FINISHED, STARTED, FINISHED, HELD]
    (row,), (held,) = bench.ledger.held, bench.ledger.data(HELD)
    assert (row.record_id, row.seq, row.tenant, row.reason) == (RECORD, 7, "acme", "in_doubt")
    assert (row.due, row.deadline) == (None, DEADLINE)
    assert held == {"reason": "in_doubt", "due": None, "claim": str(bench.ledger.chain[5].entry_id)}
    assert bench.events == ["held"]


async def test_a_backend_that_asks_for_it_is_told_of_the_hold(bench: Bench) -> None:
    assert bench.ledger.job is not None
    bench.ledger.job["notify"] = "all"
    bench.in_doubt_cap_usd = Decimal("0.009")
    bench.routes.outcomes = [LOST]

    outgoing = await bench.work().run()

    assert outgoing is not None
    assert outgoing.topic == "waybill.results"
    told = Notice.model_validate_json(outgoing.value or b"")
    assert (told.event, told.record_id, told.reason) == ("held", RECORD, "in_doubt")


async def test_over_the_cap_a_lost_answer_is_held_at_once(bench: Bench) -> None:
    bench.in_doubt_cap_usd = Decimal("0.009")

    assert await bench.run(LOST) is None
    assert bench.ledger.kinds == [STARTED, FINISHED, HELD]
    assert len(bench.routes.calls) == 1


async def test_a_doubt_that_cannot_be_afforded_is_held(bench: Bench) -> None:
    bench.orders = some_orders(max_cost_usd="0.019")

    assert await bench.run(LOST) is None
    assert bench.ledger.kinds == [STARTED, FINISHED, HELD]


# -- endings ------------------------------------------------------------------------------------------------------


async def test_a_cancelled_job_is_not_called_for(bench: Bench) -> None:
    bench.ledger.cancelled = True

    bench.ends(await bench.run(), Status.CANCELLED, ErrorCode.CANCELLED)
    assert bench.ledger.kinds == []


@pytest.mark.parametrize("outcomes", [(BUSY,), (BUSY, BUSY)], ids=["before a retry", "before a fallback"])
async def test_a_cancel_is_seen_before_each_attempt(bench: Bench, outcomes: tuple[Outcome, ...]) -> None:
    bench.orders = some_orders((BETA, ["timeout_or_5xx"]))
    left = len(outcomes)

    def cancel_during_the_last() -> None:
        nonlocal left
        left -= 1
        bench.ledger.cancelled = left == 0
        bench.routes.while_calling = cancel_during_the_last

    bench.routes.while_calling = cancel_during_the_last

    bench.ends(await bench.run(*outcomes), Status.CANCELLED, ErrorCode.CANCELLED)
    assert len(bench.routes.calls) == len(outcomes)


async def test_an_answer_counts_although_the_job_was_cancelled_meanwhile(bench: Bench) -> None:
    def cancel() -> None:
        bench.ledger.cancelled = True

    bench.routes.while_calling = cancel

    bench.ends(await bench.run(an_answer()), Status.SUCCEEDED)


async def test_past_its_deadline_nothing_is_tried(bench: Bench) -> None:
    bench.deadline = NOW

    bench.ends(await bench.run(), Status.EXPIRED, ErrorCode.DEADLINE_PASSED)
    assert bench.ledger.kinds == []


async def test_nobody_waits_beyond_the_deadline_nor_calls_after_it(bench: Bench) -> None:
    bench.deadline = NOW + timedelta(seconds=40)

    outcome = await bench.run(Failure(FailureClass.RATE_LIMITED, retry_after_ms=60_000))

    bench.ends(outcome, Status.EXPIRED, ErrorCode.DEADLINE_PASSED)
    assert bench.clock.waits == [40.0]
    assert len(bench.routes.calls) == 1


async def test_a_route_that_asks_to_wait_for_long_is_not_waited_for(bench: Bench) -> None:
    outcome = await bench.run(Failure(FailureClass.RATE_LIMITED, retry_after_ms=60_001))

    assert all(wait <= 60.0 for wait in bench.clock.waits)
    assert outcome is not None


async def test_erased_content_ends_the_record(bench: Bench) -> None:
    bench.ledger.job = None

    bench.ends(await bench.run(), Status.CANCELLED, ErrorCode.CONTENT_ERASED)
    assert bench.ledger.kinds == []


async def test_content_erased_while_waiting_is_not_sent_again(bench: Bench) -> None:
    def erase() -> None:
        bench.ledger.job = None

    bench.clock.while_waiting = erase

    bench.ends(await bench.run(BUSY), Status.CANCELLED, ErrorCode.CONTENT_ERASED)
    assert len(bench.routes.calls) == 1
