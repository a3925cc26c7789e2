"""Laws of the plan, over any sequence of outcomes: bounded, affordable, honest about doubt."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby, pairwise

from executor_builders import ALPHA, BETA, GAMMA, a_claim, circumstances, some_orders
from hypothesis import given
from hypothesis import strategies as st

from schemas.codes import FAILURE_GROUPS, ErrorCode, FailureClass, Status, Verdict, failure_classes
from schemas.decision import Orders
from services.executor.plan import Call, End, Hold, next_step
from services.runtime.chain import Progress

PRICES = {"alpha": Decimal("0.01"), "beta": Decimal("0.02"), "gamma": Decimal("0.05")}
REFUSALS = {FailureClass.REFUSED, FailureClass.CONTENT_FILTERED, FailureClass.INVALID_REQUEST}
CANNOT_ANSWER = {
    FailureClass.AUTH,
    FailureClass.QUOTA_EXHAUSTED,
    FailureClass.MODEL_GONE,
    FailureClass.CONTEXT_TOO_LONG,
}

whens = st.lists(st.sampled_from([*FAILURE_GROUPS, *FailureClass]), max_size=6)
orders = st.builds(
    lambda attempts, cost, *whens: some_orders(
        *zip((BETA, GAMMA), whens, strict=False), max_attempts=attempts, max_cost_usd=cost
    ),
    st.integers(1, 6),
    st.sampled_from(["0", "0.01", "0.03", "0.05", "0.2", "10"]),
    whens,
    whens,
)
outcomes = st.one_of(
    st.just("open"),
    st.sampled_from(FailureClass),
    # Often the same again: what matters is what follows a class that a fallback is for.
    st.sampled_from([FailureClass.AUTH, FailureClass.OVERLOADED, FailureClass.TIMEOUT_SENT]),
)
caps = st.sampled_from([Decimal(0), Decimal("0.01"), Decimal("0.02"), Decimal(1)])
verdicts = st.sampled_from([Verdict.RETRY, Verdict.NOT_CHARGED])


@dataclass
class Run:
    """One record under the plan, with everything that was asked for."""

    orders: Orders
    cap: Decimal
    progress: Progress = field(default_factory=Progress)
    calls: list[tuple[Call, bool]] = field(default_factory=list)
    """Each call, with whether it was made in doubt."""
    holds: int = 0

    def go(self, outcomes: list[FailureClass | str], verdicts: list[Verdict]) -> End | None:
        """Follow the plan until it ends, or waits for a person who says nothing more."""
        for _ in range(100):
            step = next_step(
                self.orders,
                self.progress,
                circumstances(in_doubt_cap_usd=self.cap, worst_case=lambda route: PRICES[route.provider]),
            )
            if isinstance(step, End):
                return step
            if isinstance(step, Hold):
                assert self.progress.in_doubt
                self.holds += 1
                if not verdicts:
                    return None
                self.progress.released(1_000 + self.holds, verdicts.pop())
                continue
            self.calls.append((step, self.progress.in_doubt))
            self._call(step, outcomes.pop() if outcomes else FailureClass.OVERLOADED)
        raise AssertionError("no end in sight")

    def _call(self, step: Call, outcome: FailureClass | str) -> None:
        claim = a_claim(
            self.progress, step.route, may_double_pay=step.may_double_pay, worst_case_usd=step.worst_case_usd
        )
        claim.seq += 2_000 * self.holds  # behind the verdicts
        self.progress.start(claim)
        if isinstance(outcome, FailureClass):
            lost = outcome is FailureClass.TIMEOUT_SENT
            data = {
                "outcome": "lost" if lost else "failed",
                "failure_class": outcome,
                "cost_usd": None if lost else str(step.worst_case_usd),
            }
            self.progress.finish(claim.entry_id, data)


runs = given(orders=orders, cap=caps, happens=st.lists(outcomes, max_size=10), says=st.lists(verdicts, max_size=4))


@runs
def test_it_ends_or_waits_and_never_exceeds_its_budgets(
    orders: Orders, cap: Decimal, happens: list[FailureClass | str], says: list[Verdict]
) -> None:
    run = Run(orders, cap)

    run.go(happens, says)

    assert len(run.calls) <= orders.budgets.max_attempts
    assert run.progress.spent_usd <= orders.budgets.max_cost_usd
    assert sum(call.worst_case_usd for call, _ in run.calls) <= orders.budgets.max_cost_usd


@runs
def test_doubt_is_paid_for_at_most_once_below_the_cap_and_never_in_silence(
    orders: Orders, cap: Decimal, happens: list[FailureClass | str], says: list[Verdict]
) -> None:
    run = Run(orders, cap)

    end = run.go(happens, says)

    assert all(call.may_double_pay == in_doubt for call, in_doubt in run.calls)
    assert sum(call.may_double_pay for call, _ in run.calls) <= 1
    assert all(call.worst_case_usd <= cap for call, _ in run.calls if call.may_double_pay)
    if end is not None:
        assert not run.progress.in_doubt, "an open doubt was ended"


@runs
def test_refusals_end_it_and_fallbacks_are_taken_only_on_what_they_are_for(
    orders: Orders, cap: Decimal, happens: list[FailureClass | str], says: list[Verdict]
) -> None:
    run = Run(orders, cap)

    end = run.go(happens, says)

    claims = run.progress.claims
    for position, claim in enumerate(claims):
        if claim.failure_class in REFUSALS:
            assert position == len(claims) - 1
            assert end is not None
            assert end.code in (ErrorCode.MODEL_REFUSED, ErrorCode.PROVIDER_FAILED)
    visited = [route for route, _ in groupby(claim.route for claim in claims)]
    assert len(visited) == len(set(visited)), "a route that was left is not gone back to"
    whens = {fallback.route.name: failure_classes(fallback.when) for fallback in orders.fallbacks}
    for before, claim in pairwise(claims):
        if before.failure_class in CANNOT_ANSWER:
            assert claim.route != before.route
        if claim.route != before.route:
            assert (before.failure_class or FailureClass.TIMEOUT_SENT) in whens[claim.route]
    assert all(call.fallback == (call.route != ALPHA) for call, _ in run.calls)


@runs
def test_a_plan_ends_only_with_codes_that_say_why(
    orders: Orders, cap: Decimal, happens: list[FailureClass | str], says: list[Verdict]
) -> None:
    end = Run(orders, cap).go(happens, says)

    if end is not None:
        assert end.status is Status.FAILED
        assert end.code in (ErrorCode.PROVIDER_FAILED, ErrorCode.MODEL_REFUSED, ErrorCode.BUDGET_EXCEEDED)
