"""The laws that every decision keeps, whatever the rules and the job: checked on random ones."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from policy_builders import TOOLS, a_job, a_policy, a_rule, effects, forgetful, jobs, rule_lists

from schemas.decision import Budgets, Decision
from schemas.features import Features
from services.policy import Policy, Rule
from services.policy.effects import Effects
from services.policy.restrictions import AMOUNTS, Restrictions, meet

restrictions = effects().map(lambda drawn: Effects.model_validate(drawn).restrictions())


@given(restrictions, restrictions, restrictions)
def test_meet_is_a_semilattice_with_a_top(a: Restrictions, b: Restrictions, c: Restrictions) -> None:
    assert meet([a, b]) == meet([b, a])
    assert meet([meet([a, b]), c]) == meet([a, meet([b, c])]) == meet([a, b, c])
    assert meet([a, a]) == a
    assert meet([a, Restrictions()]) == a
    assert meet([]) == Restrictions()


def permitted(policy: Policy, job: Features) -> set[tuple[str, str]]:
    plan = policy._planner.plan(job)
    return {(candidate.route.name, candidate.route.tier) for candidate in plan.candidates}


def eligible(policy: Policy, job: Features) -> set[str]:
    decision = policy.decide(job)
    if not isinstance(decision, Decision):
        return set()
    return {decision.route.name, *(fallback.route.name for fallback in decision.fallbacks)}


def budgets(policy: Policy, job: Features) -> Budgets:
    return policy._planner.plan(job).budgets


@given(rule_lists(), rule_lists(max_size=1), jobs)
@settings(max_examples=200)
def test_one_more_rule_never_permits_anything(rules: list[Rule], more: list[Rule], job: Features) -> None:
    added = [a_rule(f"added-{rule.id}", rule.spec.when, **rule.spec.effects.model_dump()) for rule in more]
    before, after = a_policy(*rules), a_policy(*rules, *added)
    assert permitted(after, job) <= permitted(before, job)
    narrow, wide = after.decide(job).policy, before.decide(job).policy
    assert set(narrow.tools_allowed) <= set(wide.tools_allowed)
    unapproved = set(wide.tools_allowed) - set(wide.requires_approval_for)
    assert set(narrow.tools_allowed) - set(narrow.requires_approval_for) <= unapproved
    assert (wide.safety_mode, narrow.safety_mode) != ("strict", "standard")
    assert (wide.retention, narrow.retention) != ("zero", "any")
    assert narrow.require_citations >= wide.require_citations
    assert narrow.human_review >= wide.human_review
    for amount in AMOUNTS:
        assert getattr(budgets(after, job), amount) <= getattr(budgets(before, job), amount)


@given(rule_lists(max_size=3), effects(), jobs)
@settings(max_examples=200)
def test_one_more_rule_routes_no_job_that_was_not_routed(
    rules: list[Rule], added: dict[str, Any], job: Features
) -> None:
    # A lower ceiling on output is the one thing that lets a job fit its window and money; see restrictions.py.
    added = {**added, "caps": {k: v for k, v in added.get("caps", {}).items() if k != "max_output_tokens"}}
    before, after = a_policy(*rules), a_policy(*rules, a_rule("added", **added))
    assert isinstance(before.decide(job), Decision) or not isinstance(after.decide(job), Decision)


@given(rule_lists(), jobs, st.randoms(use_true_random=False))
def test_the_order_of_rules_never_matters(rules: list[Rule], job: Features, chance: Any) -> None:
    shuffled = list(rules)
    chance.shuffle(shuffled)
    assert a_policy(*rules).decide(job).model_dump_json() == a_policy(*shuffled).decide(job).model_dump_json()


@given(rule_lists(), st.lists(jobs, min_size=1, max_size=6))
@settings(max_examples=60)
def test_a_remembered_plan_decides_as_a_new_one(rules: list[Rule], several: list[Features]) -> None:
    warm = a_policy(*rules)
    cold = forgetful(warm)
    for job in [*several, *reversed(several)]:
        assert warm.decide(job).model_dump_json() == cold.decide(job).model_dump_json()


@given(rule_lists(), jobs)
def test_a_decision_is_valid_and_survives_json(rules: list[Rule], job: Features) -> None:
    decision = a_policy(*rules).decide(job)
    assert type(decision).model_validate_json(decision.model_dump_json()) == decision


@given(rule_lists(), jobs)
def test_every_permitted_route_is_taken_or_explained(rules: list[Rule], job: Features) -> None:
    policy = a_policy(*rules)
    decision = policy.decide(job)
    told = {name.removesuffix(" (batch)") for out in decision.ruled_out for name in out.route.split(", ")}
    offers = {offer.route.name for offer in policy.catalog.offers}
    if isinstance(decision, Decision):
        assert decision.estimate.worst_case_usd <= decision.budgets.max_cost_usd
        assert {decision.route.name} <= offers
        assert len(decision.fallbacks) <= 2
        assert decision.route not in [fallback.route for fallback in decision.fallbacks]
    elif job.alias != "unknown":
        assert told == offers
        assert decision.reasons[0].code in {"no_route", "budget_exceeded"}


def test_taking_tools_away_does_not_admit_models_without_tools() -> None:
    job = a_job(tools=TOOLS)
    assert "alpha/plain@eu" not in eligible(a_policy(a_rule(tools_allowed=[])), job)
    assert "alpha/plain@eu" in eligible(a_policy(), a_job())
