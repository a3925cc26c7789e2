"""What to do next, case by case."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from executor_builders import ALPHA, BETA, GAMMA, NOW, circumstances, some_orders, tried

from schemas.codes import FAILURE_GROUPS, ErrorCode, FailureClass, HeldReason, Status
from schemas.decision import Orders, Route
from services.executor.plan import BACKOFF_CAP_S, Call, End, Hold, next_step
from services.runtime.chain import Progress

F = FailureClass
ON_AND_ON_HERE = [F.RATE_LIMITED, F.OVERLOADED, F.TIMEOUT_UNSENT, F.UNAVAILABLE]
AGAIN_HERE = [*ON_AND_ON_HERE, F.MALFORMED_ANSWER]
NOT_AGAIN_HERE = [F.AUTH, F.QUOTA_EXHAUSTED, F.MODEL_GONE, F.CONTEXT_TOO_LONG]
NEVER_ROUTED_AROUND = [F.REFUSED, F.CONTENT_FILTERED, F.INVALID_REQUEST]


def test_every_failure_class_is_covered_here() -> None:
    assert {*AGAIN_HERE, *NOT_AGAIN_HERE, *NEVER_ROUTED_AROUND, F.TIMEOUT_SENT} == set(FailureClass)


def test_the_first_attempt_is_made_at_once_on_the_decided_route() -> None:
    step = next_step(some_orders((BETA, ["timeout_or_5xx"])), Progress(), circumstances())

    assert step == Call(ALPHA, fallback=False, may_double_pay=False, worst_case_usd=Decimal("0.01"), delay_s=0.0)


# -- endings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progress", [Progress(), tried((ALPHA, None)), tried((ALPHA, F.OVERLOADED))])
def test_a_cancelled_record_ends_before_anything_else(progress: Progress) -> None:
    seen = circumstances(cancelled=True, deadline=NOW - timedelta(hours=1))

    assert next_step(some_orders(), progress, seen) == End(Status.CANCELLED, ErrorCode.CANCELLED)


@pytest.mark.parametrize("progress", [Progress(), tried((ALPHA, None)), tried((ALPHA, F.REFUSED))])
@pytest.mark.parametrize("late_by", [timedelta(0), timedelta(microseconds=1)])
def test_past_its_deadline_a_record_expires(progress: Progress, late_by: timedelta) -> None:
    seen = circumstances(deadline=NOW - late_by)

    assert next_step(some_orders(), progress, seen) == End(Status.EXPIRED, ErrorCode.DEADLINE_PASSED)


def test_just_before_its_deadline_it_goes_on() -> None:
    seen = circumstances(deadline=NOW + timedelta(microseconds=1))

    assert isinstance(next_step(some_orders(), Progress(), seen), Call)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (F.REFUSED, ErrorCode.MODEL_REFUSED),
        (F.CONTENT_FILTERED, ErrorCode.MODEL_REFUSED),
        (F.INVALID_REQUEST, ErrorCode.PROVIDER_FAILED),
    ],
)
def test_a_refusal_is_never_routed_around(failure: FailureClass, code: ErrorCode) -> None:
    orders = some_orders((BETA, [failure]))

    assert next_step(orders, tried((ALPHA, failure)), circumstances()) == End(Status.FAILED, code)


def test_attempts_run_out() -> None:
    progress = tried((ALPHA, F.OVERLOADED), (ALPHA, F.OVERLOADED))

    assert isinstance(next_step(some_orders(max_attempts=3), progress, circumstances()), Call)
    assert next_step(some_orders(max_attempts=2), progress, circumstances()) == End(
        Status.FAILED, ErrorCode.PROVIDER_FAILED
    )


def test_an_attempt_that_could_cost_more_than_is_left_is_not_made() -> None:
    assert isinstance(next_step(some_orders(max_cost_usd="0.01"), Progress(), circumstances()), Call)
    assert next_step(some_orders(max_cost_usd="0.009999999"), Progress(), circumstances()) == End(
        Status.FAILED, ErrorCode.BUDGET_EXCEEDED
    )


def test_a_route_that_the_catalog_lost_is_not_called() -> None:
    unknown = circumstances(knows=lambda route: False, worst_case=_unpriced)

    assert next_step(some_orders(), Progress(), unknown) == End(Status.FAILED, ErrorCode.PROVIDER_FAILED)
    assert next_step(some_orders(), tried((ALPHA, F.TIMEOUT_SENT)), unknown) == Hold(HeldReason.IN_DOUBT)


def _unpriced(route: Route) -> Decimal:
    raise AssertionError


# -- routes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", AGAIN_HERE)
def test_a_route_is_tried_twice_before_the_fallback(failure: FailureClass) -> None:
    orders = some_orders((BETA, [failure]))

    assert _route(orders, (ALPHA, failure)) == (ALPHA, False)
    assert _route(orders, (ALPHA, failure), (ALPHA, failure)) == (BETA, True)
    assert _route(orders, (ALPHA, failure), (ALPHA, failure), (BETA, failure)) == (BETA, True)


@pytest.mark.parametrize("failure", NOT_AGAIN_HERE)
def test_a_route_that_cannot_answer_is_left_at_once(failure: FailureClass) -> None:
    assert _route(some_orders((BETA, [failure])), (ALPHA, failure)) == (BETA, True)
    assert next_step(some_orders(), tried((ALPHA, failure)), circumstances()) == End(
        Status.FAILED, ErrorCode.PROVIDER_FAILED
    )


@pytest.mark.parametrize("failure", NOT_AGAIN_HERE)
def test_a_fallback_that_cannot_answer_is_left_too(failure: FailureClass) -> None:
    one, two = some_orders((BETA, [failure])), some_orders((BETA, [failure]), (GAMMA, [failure]))

    assert next_step(one, tried((ALPHA, failure), (BETA, failure)), circumstances()) == End(
        Status.FAILED, ErrorCode.PROVIDER_FAILED
    )
    assert _route(two, (ALPHA, failure), (BETA, failure)) == (GAMMA, True)


@pytest.mark.parametrize("group", sorted(FAILURE_GROUPS))
@pytest.mark.parametrize("failure", [*AGAIN_HERE, *NOT_AGAIN_HERE])
def test_a_fallback_is_taken_only_on_what_it_is_for(group: str, failure: FailureClass) -> None:
    orders = some_orders((BETA, [group]))
    step = next_step(orders, tried((ALPHA, failure), (ALPHA, failure)), circumstances())

    if failure in FAILURE_GROUPS[group]:
        assert isinstance(step, Call)
        assert step.route == BETA
    elif failure in ON_AND_ON_HERE:
        assert isinstance(step, Call)
        assert step.route == ALPHA
    else:
        assert step == End(Status.FAILED, ErrorCode.PROVIDER_FAILED)


def test_the_first_fitting_fallback_that_was_not_tried_is_taken() -> None:
    orders = some_orders((BETA, ["rate_limit"]), (GAMMA, ["timeout_or_5xx"]))

    assert _route(orders, (ALPHA, F.OVERLOADED), (ALPHA, F.OVERLOADED)) == (GAMMA, True)
    assert _route(orders, (ALPHA, F.RATE_LIMITED), (ALPHA, F.RATE_LIMITED)) == (BETA, True)
    assert _route(orders, *[(ALPHA, F.RATE_LIMITED)] * 2, *[(BETA, F.RATE_LIMITED)] * 2) == (BETA, True)


@pytest.mark.parametrize("failure", ON_AND_ON_HERE)
def test_where_no_fallback_fits_the_route_is_tried_on(failure: FailureClass) -> None:
    assert _route(some_orders(), *[(ALPHA, failure)] * 5) == (ALPHA, False)


def test_what_answers_nonsense_twice_is_not_paid_again() -> None:
    assert _route(some_orders(), (ALPHA, F.MALFORMED_ANSWER)) == (ALPHA, False)
    twice = tried(*[(ALPHA, F.MALFORMED_ANSWER)] * 2)
    assert next_step(some_orders(), twice, circumstances()) == End(Status.FAILED, ErrorCode.PROVIDER_FAILED)


@pytest.mark.parametrize("failure", [F.TIMEOUT_SENT, F.OVERLOADED, F.AUTH])
@pytest.mark.parametrize("tries", [1, 2, 3])
def test_a_new_decision_begins_with_its_own_route(failure: FailureClass, tries: int) -> None:
    orders = some_orders((GAMMA, ["timeout_or_5xx", "route_broken"]), route=BETA)
    progress = tried(*[(ALPHA, failure)] * tries)
    progress.released(99, "retry")

    step = next_step(orders, progress, circumstances())

    assert isinstance(step, Call)
    assert (step.route, step.fallback) == (BETA, False)


def _route(orders: Orders, *attempts: tuple[Route, FailureClass | None]) -> tuple[Route, bool]:
    step = next_step(orders, tried(*attempts), circumstances())
    assert isinstance(step, Call)
    return step.route, step.fallback


# -- doubt --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [None, F.TIMEOUT_SENT], ids=["open", "lost"])
def test_a_call_in_doubt_is_tried_once_more_and_says_so(failure: FailureClass | None) -> None:
    step = next_step(some_orders(), tried((ALPHA, failure)), circumstances())

    assert isinstance(step, Call)
    assert step.may_double_pay


@pytest.mark.parametrize("failure", [None, F.TIMEOUT_SENT], ids=["open", "lost"])
def test_a_second_doubt_waits_for_a_person(failure: FailureClass | None) -> None:
    progress = tried((ALPHA, failure), (ALPHA, failure))
    assert progress.double_paying == 1

    assert next_step(some_orders(), progress, circumstances()) == Hold(HeldReason.IN_DOUBT)


@pytest.mark.parametrize("failure", ON_AND_ON_HERE)
def test_after_the_doubt_was_disclosed_the_next_attempt_is_an_ordinary_one(failure: FailureClass) -> None:
    step = next_step(some_orders(), tried((ALPHA, F.TIMEOUT_SENT), (ALPHA, failure)), circumstances())

    assert isinstance(step, Call)
    assert not step.may_double_pay


def test_doubt_is_paid_for_only_up_to_the_cap() -> None:
    progress = tried((ALPHA, F.TIMEOUT_SENT))

    assert isinstance(next_step(some_orders(), progress, circumstances(in_doubt_cap_usd=Decimal("0.01"))), Call)
    for cap in ("0.009999999", "0"):
        seen = circumstances(in_doubt_cap_usd=Decimal(cap))
        assert next_step(some_orders(), progress, seen) == Hold(HeldReason.IN_DOUBT)


def test_a_doubt_without_attempts_left_waits_for_a_person() -> None:
    progress = tried((ALPHA, F.TIMEOUT_SENT))

    assert next_step(some_orders(max_attempts=1), progress, circumstances()) == Hold(HeldReason.IN_DOUBT)


def test_a_doubt_that_cannot_be_afforded_waits_for_a_person_too() -> None:
    # The lost call counts in full: ending the record here would resolve the doubt in silence.
    progress = tried((ALPHA, F.TIMEOUT_SENT))

    assert next_step(some_orders(max_cost_usd="0.019"), progress, circumstances()) == Hold(HeldReason.IN_DOUBT)
    assert isinstance(next_step(some_orders(max_cost_usd="0.02"), progress, circumstances()), Call)


def test_after_a_verdict_the_lost_call_still_counts_in_full() -> None:
    progress = tried((ALPHA, F.TIMEOUT_SENT))
    progress.released(99, "not_charged")

    assert next_step(some_orders(max_cost_usd="0.019"), progress, circumstances()) == End(
        Status.FAILED, ErrorCode.BUDGET_EXCEEDED
    )
    step = next_step(some_orders(max_cost_usd="0.02"), progress, circumstances())
    assert isinstance(step, Call)
    assert not step.may_double_pay


# -- waiting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tries", "ceiling"), [(1, 0.5), (2, 1.0), (3, 2.0), (7, BACKOFF_CAP_S), (40, BACKOFF_CAP_S)])
def test_backoff_doubles_up_to_its_cap_with_full_jitter(tries: int, ceiling: float) -> None:
    progress = tried(*[(ALPHA, F.OVERLOADED)] * tries)

    assert _delay(progress, jitter=lambda: 0.0) == 0.0
    assert _delay(progress, jitter=lambda: 0.25) == ceiling / 4


def test_the_provider_s_wish_is_a_lower_bound() -> None:
    progress = tried((ALPHA, F.RATE_LIMITED))

    assert _delay(progress, jitter=lambda: 0.5, retry_after_ms=7_000) == 7.0
    assert _delay(progress, jitter=lambda: 0.5, retry_after_ms=100) == 0.25
    assert _delay(progress, jitter=lambda: 0.5, retry_after_ms=0) == 0.25


def test_another_route_is_called_at_once() -> None:
    orders = some_orders((BETA, ["rate_limit"]))
    step = next_step(orders, tried(*[(ALPHA, F.RATE_LIMITED)] * 2), circumstances(retry_after_ms=60_000))

    assert isinstance(step, Call)
    assert (step.route, step.delay_s) == (BETA, 0.0)


def _delay(progress: Progress, **changes: object) -> float:
    step = next_step(some_orders(max_attempts=100), progress, circumstances(**changes))
    assert isinstance(step, Call)
    return step.delay_s
