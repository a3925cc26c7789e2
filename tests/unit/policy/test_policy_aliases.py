"""Shares, canaries, shadows and named fallbacks of an alias; what is closed, and the money left."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_builders import a_job, a_policy, a_rule, shared_alias
from pydantic import ValidationError

from schemas.codes import FailureClass, failure_classes
from schemas.decision import Decision, NoRoute
from services.policy import Alias, Circumstances, Closed, Health, MoneyLeft, Policy, explain
from services.policy.aliases import fraction

RECORDS = [f"record-{number}" for number in range(4_000)]


def decided(policy: Policy, now: Circumstances, **job: Any) -> Decision:
    decision = policy.decide(a_job(**job), None, now)
    assert isinstance(decision, Decision), decision
    return decision


def shared(record: str | None, *rules: Any, alias: Alias | None = None, **now: Any) -> Decision:
    policy = a_policy(*rules, aliases={"shared": alias or shared_alias()})
    return decided(policy, Circumstances(record, **now), alias="shared")


def test_jobs_are_shared_as_the_weights_say_and_a_canary_takes_its_share_first() -> None:
    policy = a_policy(aliases={"shared": shared_alias()})
    taken = Counter(decided(policy, Circumstances(record), alias="shared").route.provider for record in RECORDS)
    assert taken["gamma"] / len(RECORDS) == pytest.approx(0.25, abs=0.03)
    assert taken["alpha"] / (taken["alpha"] + taken["beta"]) == pytest.approx(0.75, abs=0.03)


@given(st.uuids().map(str), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_canary_that_grows_keeps_the_jobs_that_it_had(record: str, share: float, other: float) -> None:
    small, large = sorted((share, other))
    parts = {"provider": "gamma", "model": "large"}
    picks = [shared_alias(canary={**parts, "share": it}).pick("shared", record) for it in (small, large)]
    assert all(pick is not None for pick in picks)
    if picks[0] and picks[0].choice == 2:
        assert picks[1] is not None
        assert picks[1].choice == 2


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_fraction_is_always_the_same_and_below_one(alias: str, record: str) -> None:
    assert 0 <= fraction(alias, "canary", record) < 1
    assert fraction(alias, "canary", record) == fraction(alias, "canary", record)


def test_without_a_record_no_share_is_drawn_and_cost_decides() -> None:
    assert shared(None).route.name == "alpha/small@eu"
    assert shared(None).shadows == []


def on_canary(alias: Alias) -> str:
    return next(record for record in RECORDS if (pick := alias.pick("shared", record)) and pick.choice == 2)


def test_a_canary_is_told_and_falls_back_to_what_it_was_tried_against() -> None:
    decision = shared(on_canary(shared_alias()))
    assert decision.route.name == "gamma/large@eu"
    assert "it is among the 25% of jobs that try out the canary of shared" in decision.reasons[-1].text
    assert [fallback.route.name for fallback in decision.fallbacks] == ["alpha/plain@eu", "alpha/small@eu"]


def test_a_target_that_policy_rules_out_gets_none_of_its_share() -> None:
    rule = a_rule("no-gamma", deny_providers=["gamma"])
    assert shared(on_canary(shared_alias()), rule).route.provider != "gamma"


def test_a_shadow_gets_a_share_of_copies_and_none_that_policy_forbids() -> None:
    record = next(record for record in RECORDS if shared(record).shadows and shared(record).route.provider != "gamma")
    assert [route.name for route in shared(record).shadows] == ["gamma/large@eu"]
    assert shared(record, a_rule("no-gamma", deny_providers=["gamma"])).shadows == []
    copied = sum(bool(shared(record).shadows) for record in RECORDS[:800])
    assert 0.3 < copied / 800 < 0.55  # half of the jobs, but for those that the canary took: it is the same route


def test_copies_cost_of_the_jobs_own_money() -> None:
    record = next(record for record in RECORDS if shared(record).shadows and shared(record).route.provider == "alpha")
    policy = a_policy(aliases={"shared": shared_alias()})
    answer, copy = (
        policy.catalog.worst_case(r, 1_000, 4_000) for r in (shared(record).route, shared(record).shadows[0])
    )

    def copies(usd: Decimal) -> int:
        return len(decided(policy, Circumstances(record), alias="shared", max_cost_usd=str(usd)).shadows)

    assert copies(answer + copy) == 1
    assert copies(answer + copy - Decimal("0.000001")) == 0
    twice = shared_alias(shadows=[{"provider": "gamma", "model": "large", "region": it} for it in ("eu", "us")])
    policy = a_policy(aliases={"shared": twice})
    assert copies(answer + copy + copy) == 2
    assert copies(answer + copy + copy - Decimal("0.000001")) == 1


def test_a_wish_does_not_make_a_shadow_answer() -> None:
    policy = a_policy(aliases={"shared": shared_alias()})
    decision = decided(policy, Circumstances(), alias="shared", model="gamma/large@us")
    assert decision.route.name != "gamma/large@us"
    assert "gamma/large@us" not in [fallback.route.name for fallback in decision.fallbacks]


def test_named_fallbacks_come_first_and_take_over_only_after_what_they_are_named_for() -> None:
    decision = shared(None)
    first = decision.fallbacks[0]
    assert first.route.name == "alpha/plain@eu"
    assert failure_classes(first.when) == {FailureClass.RATE_LIMITED, FailureClass.QUOTA_EXHAUSTED}
    assert FailureClass.TIMEOUT_SENT in failure_classes(decision.fallbacks[1].when)


def test_a_fallback_takes_a_job_itself_only_where_no_target_can() -> None:
    closed = Health.of([Closed("alpha/small@eu", "outage"), Closed("beta", "outage"), Closed("gamma", "outage")])
    assert shared(None, health=closed).route.name == "alpha/plain@eu"


@pytest.mark.parametrize("when", [["refused"], ["content_filtered", "rate_limit"], ["invalid_request"], ["bored"], []])
def test_a_refusal_is_never_routed_around(when: list[str]) -> None:
    with pytest.raises(ValidationError):
        shared_alias(fallbacks=[{"provider": "alpha", "model": "plain", "when": when}])


def test_a_fallback_at_the_same_provider_is_not_asked_where_the_account_is_the_trouble() -> None:
    decision = decided(a_policy(), Circumstances(), providers=["alpha"])
    taken = failure_classes(decision.fallbacks[0].when)
    assert FailureClass.TIMEOUT_SENT in taken
    assert not taken & {FailureClass.AUTH, FailureClass.QUOTA_EXHAUSTED}


def test_a_fallback_with_more_room_takes_over_where_the_job_is_too_long() -> None:
    decision = decided(a_policy(), Circumstances(), providers=["alpha", "gamma"])
    roomy = next(fallback for fallback in decision.fallbacks if fallback.route.model == "large")
    assert FailureClass.CONTEXT_TOO_LONG in failure_classes(roomy.when)


def test_an_uncertain_answer_is_asked_again_of_the_strongest_model_that_the_money_reaches() -> None:
    escalation = decided(a_policy(), Circumstances()).escalation
    assert escalation is not None
    assert (escalation.to.name, escalation.on, escalation.max) == ("gamma/large@eu", ["low_confidence"], 1)
    assert decided(a_policy(), Circumstances(), max_cost_usd="0.046").escalation is None
    assert decided(a_policy(a_rule("none", escalation="none")), Circumstances()).escalation is None
    assert decided(a_policy(), Circumstances(), model="large").escalation is None


# -- what is closed, and the money left ------------------------------------------------------------------------------


def refused(now: Circumstances, *rules: Any, **caps: Any) -> NoRoute:
    decision = a_policy(*rules, **caps).decide(a_job(), None, now)
    assert isinstance(decision, NoRoute)
    return decision


def test_a_closed_provider_is_left_out_with_the_reason() -> None:
    health = Health.of([Closed("alpha", "outage", "it answers no calls")])
    decision = decided(a_policy(), Circumstances(health=health))
    assert decision.route.provider == "beta"
    told = {out.route: (out.rule, out.text) for out in decision.ruled_out}
    assert told["alpha/plain@eu"] == ("health", "alpha is out of service: it answers no calls")
    assert decision.inputs.health == health.hash != a_policy().decide(a_job()).inputs.health


def test_a_job_waits_for_a_gate_only_if_nothing_but_gates_keeps_it() -> None:
    gate, outage = Closed("all", "gate", "an incident"), Closed("alpha", "outage")
    assert refused(Circumstances(health=Health.of([gate]))).waits_for == "gate"
    some = [Closed(name, "gate") for name in ("beta", "gamma")]
    assert refused(Circumstances(health=Health.of([outage, *some]))).waits_for == "outage"


def test_a_job_that_could_go_nowhere_anyway_does_not_wait() -> None:
    decision = refused(Circumstances(health=Health.of([Closed("all", "gate")])), a_rule("none", allow_regions=["mars"]))
    assert decision.waits_for is None
    assert decision.reasons[0].code == "no_route"


def test_health_is_the_same_in_any_order() -> None:
    a, b = Closed("alpha", "gate"), Closed("beta", "outage")
    assert Health((a, b)).hash == Health((b, a, a)).hash != Health((a,)).hash


def test_the_money_left_lowers_what_a_job_may_cost() -> None:
    decision = decided(a_policy(), Circumstances(money=MoneyLeft(Decimal("0.012"), "this week")))
    assert decision.budgets.max_cost_usd == Decimal("0.012")
    assert decision.escalation is None
    assert {out.rule for out in decision.ruled_out} == {"budget"}
    plenty = decided(a_policy(), Circumstances(money=MoneyLeft(Decimal(50), "this week")))
    assert plenty.budgets.max_cost_usd == Decimal(1)


def test_without_money_a_job_waits_or_is_rejected_as_policy_says() -> None:
    broke = Circumstances(money=MoneyLeft(Decimal(0), "this week"))
    assert refused(broke).reasons[0].code == "budget_exceeded"
    assert refused(broke).waits_for is None
    assert refused(broke, over_budget="hold").waits_for == "budget"
    assert refused(broke, a_rule("strict", over_budget="reject"), over_budget="hold").waits_for is None
    text = explain(refused(broke, over_budget="hold"), a_job())
    assert "The job waits. What the tenant has left in this week does not reach" in text


def test_a_job_that_is_too_dear_by_itself_does_not_wait_for_the_tenants_money() -> None:
    policy = a_policy(over_budget="hold")
    decision = policy.decide(a_job(max_cost_usd="0.0001"), None, Circumstances(money=MoneyLeft(Decimal(0), "May")))
    assert isinstance(decision, NoRoute)
    assert decision.waits_for is None


def test_a_limit_of_one_route_holds_there_alone() -> None:
    policy = a_policy()
    content = policy.bundle.content() | {"routes": [{"route": "alpha/*", "max_cost_usd": "0.004"}]}
    limited = policy.with_bundle(type(policy.bundle).from_content(content))
    decision = decided(limited, Circumstances())
    assert decision.route.provider == "beta"
    assert {out.rule for out in decision.ruled_out} == {"routes"}


def test_the_risk_budget_of_any_route_that_a_job_may_end_on_counts() -> None:
    policy = a_policy(a_rule("no-stronger", escalation="none"))
    routes = [{"route": "gamma/*", "unattended_tools": ["kb_*"]}]
    limited = policy.with_bundle(type(policy.bundle).from_content(policy.bundle.content() | {"routes": routes}))
    job = {"tools": ["kb_search", "email_send"]}
    wide = decided(limited, Circumstances(), **job)
    assert "gamma" in {fallback.route.provider for fallback in wide.fallbacks}
    assert (wide.policy.requires_approval_for, wide.policy.confirmation_suffices_for) == (
        ["email_send"],
        ["email_send"],
    )
    assert decided(limited, Circumstances(), providers=["alpha"], **job).policy.requires_approval_for == []
