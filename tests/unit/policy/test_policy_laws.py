"""The laws that every decision keeps, whatever the rules and the job: checked on random ones."""

from __future__ import annotations

import json
from typing import Any

import cel
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_builders import (
    TOOLS,
    a_catalog,
    a_job,
    a_policy,
    a_rule,
    circumstances,
    effects,
    forgetful,
    jobs,
    rule_lists,
)

from schemas.decision import AppliedPolicy, Budgets, Decision
from schemas.features import Features
from services.policy import Circumstances, Health, Offer, Policy, Rule, TenantLimits
from services.policy.condition import ConditionError
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


OFFERS = a_catalog().offers


@given(st.lists(restrictions, max_size=3), st.sampled_from(OFFERS), st.lists(st.sampled_from(TOOLS), max_size=2))
@settings(max_examples=1_000)
def test_together_rules_exclude_exactly_what_one_of_them_excludes(
    several: list[Restrictions], offer: Offer, tools: list[str]
) -> None:
    joint, job = meet(several), {"task": "summarise", "tools": tools}
    assert (joint.excludes(offer, job) is None) == all(one.excludes(offer, job) is None for one in several)
    for tool in TOOLS:
        assert joint.allows_tool(tool) == all(one.allows_tool(tool) for one in several)
        assert joint.needs_word(tool) == any(one.needs_word(tool) for one in several)
        assert joint.needs_person(tool) == any(one.needs_person(tool) for one in several)
        assert joint.needs_sandbox(tool) == any(one.needs_sandbox(tool) for one in several)


@given(rule_lists(), st.lists(jobs, min_size=1, max_size=4))
def test_a_rule_applies_exactly_if_its_condition_holds_or_fails(rules: list[Rule], several: list[Features]) -> None:
    policy = a_policy(*rules)
    for job in several:
        context = cel.Context()
        context.update(job.attributes())
        for rule in rules:
            try:
                applies = rule.condition.holds(context)
            except ConditionError:
                applies = True
            assert applies == (rule.id in {fired.rule.id for fired in policy.fired(job)})


def takeable(policy: Policy, job: Features, now: Circumstances) -> set[tuple[str, str]]:
    routes = {(offer.route.name, offer.route.tier): offer.route for offer in policy.catalog.offers}
    return {name for name, route in routes.items() if policy.objection(job, route, None, now) is None}


def eligible(policy: Policy, job: Features) -> set[str]:
    decision = policy.decide(job)
    if not isinstance(decision, Decision):
        return set()
    return {decision.route.name, *(fallback.route.name for fallback in decision.fallbacks)}


def by_person(policy: AppliedPolicy) -> set[str]:
    return set(policy.requires_approval_for) - set(policy.confirmation_suffices_for)


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
    by_person = set(narrow.requires_approval_for) - set(narrow.confirmation_suffices_for)
    assert by_person >= (set(wide.requires_approval_for) - set(wide.confirmation_suffices_for)) & set(
        narrow.tools_allowed
    )
    assert set(narrow.tools_sandboxed) >= set(wide.tools_sandboxed) & set(narrow.tools_allowed)
    assert (wide.prompt_layout, narrow.prompt_layout) != ("isolated", "standard")
    assert (wide.logging, narrow.logging) != ("strict", "standard")
    assert set(narrow.redact) >= set(wide.redact)
    for amount in AMOUNTS:
        assert getattr(budgets(after, job), amount) <= getattr(budgets(before, job), amount)


@given(rule_lists(max_size=3), effects(), jobs, circumstances)
@settings(max_examples=200)
def test_one_more_rule_lets_a_job_take_no_route_that_it_could_not_take(
    rules: list[Rule], added: dict[str, Any], job: Features, now: Circumstances
) -> None:
    before, after = a_policy(*rules), a_policy(*rules, a_rule("added", **added))
    assert takeable(after, job, now) <= takeable(before, job, now)
    assert isinstance(before.decide(job, None, now), Decision) or not isinstance(after.decide(job, None, now), Decision)


@given(rule_lists(), jobs, circumstances)
@settings(max_examples=300)
def test_whatever_a_job_may_end_on_satisfies_every_rule(rules: list[Rule], job: Features, now: Circumstances) -> None:
    policy = a_policy(*rules)
    decision = policy.decide(job, None, now)
    if not isinstance(decision, Decision):
        return
    offers = {(offer.route.name, offer.route.tier): offer for offer in policy.catalog.offers}
    attributes = job.attributes()
    stronger = [] if decision.escalation is None else [decision.escalation.to]
    for route in [decision.route, *(it.route for it in decision.fallbacks), *stronger, *decision.shadows]:
        offer = offers[route.name, route.tier]
        assert not [rule.id for rule, _ in policy.fired(job) if rule.restrictions.excludes(offer, attributes)]
        assert job.operation in offer.model.capabilities
        assert (job.regions is None) or route.region in job.regions
        worst = policy.catalog.worst_case(route, job.input_tokens, decision.budgets.max_output_tokens)
        assert worst <= decision.budgets.max_cost_usd
        if route not in decision.shadows:
            assert policy.objection(job, route, None, now) is None
            assert now.health.closes(route) is None
    first = policy.catalog.worst_case(decision.route, job.input_tokens, decision.budgets.max_output_tokens)
    copies = [
        policy.catalog.worst_case(r, job.input_tokens, decision.budgets.max_output_tokens) for r in decision.shadows
    ]
    assert first + sum(copies) <= decision.budgets.max_cost_usd


@given(rule_lists(max_size=3), jobs, circumstances, circumstances)
@settings(max_examples=200)
def test_more_that_is_closed_and_less_money_add_no_route(
    rules: list[Rule], job: Features, now: Circumstances, worse: Circumstances
) -> None:
    policy = a_policy(*rules)
    closed = Health.of([*now.health.closed, *worse.health.closed])
    money = min((it for it in (now.money, worse.money) if it is not None), key=lambda it: it.usd, default=None)
    assert takeable(policy, job, Circumstances(now.record, closed, money)) <= takeable(policy, job, now)


@given(rule_lists(), jobs, circumstances)
def test_equal_inputs_give_equal_bytes_also_from_what_was_kept_of_them(
    rules: list[Rule], job: Features, now: Circumstances
) -> None:
    policy = a_policy(*rules)

    def kept(content: dict[str, Any]) -> Any:
        return json.loads(json.dumps(content))

    again = Policy.from_content(
        kept(policy.bundle.content()), kept(policy.catalog.content()), kept(policy.aliases.content())
    )
    assert (again.bundle.hash, again.catalog.hash, again.aliases.hash) == (
        policy.bundle.hash,
        policy.catalog.hash,
        policy.aliases.hash,
    )
    assert again.decide(job, None, now).model_dump_json() == policy.decide(job, None, now).model_dump_json()


@given(rule_lists(), jobs, st.randoms(use_true_random=False))
def test_the_order_of_rules_never_matters(rules: list[Rule], job: Features, chance: Any) -> None:
    shuffled = list(rules)
    chance.shuffle(shuffled)
    assert a_policy(*rules).decide(job).model_dump_json() == a_policy(*shuffled).decide(job).model_dump_json()


@given(rule_lists(), st.lists(jobs, min_size=1, max_size=6), circumstances)
@settings(max_examples=60)
def test_a_remembered_plan_decides_as_a_new_one(rules: list[Rule], several: list[Features], now: Circumstances) -> None:
    warm = a_policy(*rules)
    cold = forgetful(warm)
    for job in [*several, *reversed(several)]:
        assert warm.decide(job, None, now).model_dump_json() == cold.decide(job, None, now).model_dump_json()


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
        names = [decision.route.name, *(fallback.route.name for fallback in decision.fallbacks)]
        assert len(set(names)) == len(names)
        assert decision.route not in [fallback.route for fallback in decision.fallbacks]
    elif job.alias != "unknown":
        assert told == offers
        assert decision.reasons[0].code in {"no_route", "budget_exceeded"}


def test_taking_tools_away_does_not_admit_models_without_tools() -> None:
    job = a_job(tools=TOOLS)
    assert "alpha/plain@eu" not in eligible(a_policy(a_rule(tools_allowed=[])), job)
    assert "alpha/plain@eu" in eligible(a_policy(), a_job())


limits = st.none() | st.frozensets(st.sampled_from(["eu", "us", "nowhere"]), min_size=1)


@given(rule_lists(), jobs, limits)
def test_the_regions_of_a_tenant_only_narrow_and_are_told(
    rules: list[Rule], job: Features, regions: frozenset[str] | None
) -> None:
    policy = a_policy(*rules)
    free, bound = policy.decide(job), policy.decide(job, TenantLimits("sha256:v", regions))
    assert (free.inputs.tenants, bound.inputs.tenants) == (None, "sha256:v")
    told = [reason for reason in bound.reasons if reason.code == "tenant_regions"]
    assert len(told) == (regions is not None)
    if regions is None:
        assert bound.model_copy(update={"inputs": free.inputs}) == free
        return
    if isinstance(bound, Decision):
        assert {bound.route.region, *(fallback.route.region for fallback in bound.fallbacks)} <= regions
        assert isinstance(free, Decision)


@given(rule_lists(), jobs, st.lists(limits, min_size=1, max_size=4))
def test_a_plan_remembered_for_one_tenant_is_not_anothers(
    rules: list[Rule], job: Features, several: list[frozenset[str] | None]
) -> None:
    warm = a_policy(*rules)
    for regions in [*several, *reversed(several)]:
        agreed = TenantLimits("sha256:v", regions)
        assert warm.decide(job, agreed).model_dump_json() == forgetful(warm).decide(job, agreed).model_dump_json()
