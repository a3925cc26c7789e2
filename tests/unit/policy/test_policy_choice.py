"""Which route is taken, which come next, and what rules the others out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from policy_builders import a_catalog, a_job, a_model, a_policy, a_price, a_provider, a_rule

from schemas.codes import failure_classes
from schemas.decision import Decision, NoRoute
from services.policy import Catalog, Policy


def routed(policy: Policy, **job: Any) -> Decision:
    decision = policy.decide(a_job(**job))
    assert isinstance(decision, Decision), decision
    return decision


def refused(policy: Policy, **job: Any) -> NoRoute:
    decision = policy.decide(a_job(**job))
    assert isinstance(decision, NoRoute), decision
    return decision


def codes(decision: Decision | NoRoute) -> list[str]:
    return [reason.code for reason in decision.reasons]


def why_not(decision: Decision | NoRoute, route: str) -> tuple[str, str]:
    return next((out.rule, out.text) for out in decision.ruled_out if route in out.route.split(", "))


def test_background_takes_the_cheapest_and_falls_back_to_other_providers_first() -> None:
    decision = routed(a_policy())
    assert decision.route.name == "alpha/plain@eu"
    assert [fallback.route.name for fallback in decision.fallbacks] == ["beta/small@eu", "gamma/large@eu"]
    assert failure_classes(decision.fallbacks[0].when)


def test_the_same_provider_is_a_fallback_where_no_other_is() -> None:
    decision = routed(a_policy(), providers=["alpha"])
    assert [fallback.route.name for fallback in decision.fallbacks] == ["alpha/small@eu"]


def test_background_never_takes_a_batch_tier_and_batch_prefers_it() -> None:
    assert routed(a_policy(), providers=["beta"]).route.tier == "standard"
    decision = routed(a_policy(), latency_class="batch", tools=["calculator"])
    assert (decision.route.name, decision.route.tier) == ("beta/small@eu", "batch")
    assert decision.estimate.cost_usd == Decimal("0.00135")


def test_equal_costs_are_decided_by_latency_then_quality_then_name() -> None:
    def first(*models: Any) -> str:
        providers = [a_provider(name) for name in ("zeta", "alpha", "beta")]
        return routed(a_policy(catalog=Catalog(providers, list(models), {"default": 400}))).route.provider

    assert first(a_model("zeta"), a_model("beta"), a_model("alpha")) == "alpha"
    assert first(a_model("zeta", quality={"default": 0.9}), a_model("alpha")) == "zeta"
    assert first(a_model("alpha", quality={"default": 0.9}), a_model("beta", latency_ms=50)) == "beta"


def test_cost_depends_on_the_size_of_this_job() -> None:
    models = [
        a_model("alpha", "reads-cheap", price=a_price(1, 20)),
        a_model("alpha", "writes-cheap", price=a_price(3, 2)),
    ]
    policy = a_policy(catalog=Catalog([a_provider()], models, {"default": 400}))
    assert routed(policy, input_tokens=100).route.model == "writes-cheap"
    assert routed(policy, input_tokens=50_000).route.model == "reads-cheap"


@pytest.mark.parametrize(
    ("job", "route", "rule", "words"),
    [
        ({"operation": "embed"}, "alpha/small@eu", "catalog", "embed"),
        ({"tools": ["calculator"]}, "alpha/plain@eu", "catalog", "tools"),
        ({"structured_output": True}, "alpha/plain@eu", "catalog", "structure"),
        ({"input_tokens": 99_000}, "alpha/small@eu", "catalog", "context of 100,000"),
        ({"regions": ["us"]}, "alpha/small@eu", "job", "region eu"),
        ({"providers": ["beta"]}, "alpha/small@eu", "job", "provider alpha"),
        ({"retention": "zero"}, "beta/small@eu", "job", "30 days"),
        ({"alias": "first"}, "beta/small@eu", "alias", "alias first"),
    ],
)
def test_a_route_is_ruled_out_in_words(job: dict[str, Any], route: str, rule: str, words: str) -> None:
    said = why_not(a_policy().decide(a_job(**job)), route)
    assert said[0] == rule
    assert words in said[1]


@pytest.mark.parametrize(
    ("effects", "route", "words"),
    [
        ({"allow_residency": ["eu"]}, "beta/small@eu", "beta keeps data in us, and only eu is allowed for that"),
        ({"max_retention_days": 7}, "beta/small@eu", "beta keeps data for 30 days, and 7 at most"),
        (
            {"allow_hosting": ["self-hosted", "private"]},
            "alpha/small@eu",
            "has to be private or self",
        ),
        ({"allow_models": ["*/small"]}, "gamma/large@eu", "gamma/large is not among those allowed (*/small)"),
        ({"deny_models": ["gamma/*"]}, "gamma/large@us", "gamma/large is not allowed"),
        ({"require_capabilities": ["tools"]}, "alpha/plain@eu", "lacks what is asked for: tools"),
        ({"max_latency_ms": 50}, "alpha/small@eu", "a call takes it 100 ms, and 50 ms are allowed"),
    ],
)
def test_a_rule_rules_out_in_words(effects: dict[str, Any], route: str, words: str) -> None:
    rule, text = why_not(a_policy(a_rule("strict", **effects)).decide(a_job()), route)
    assert rule == "strict"
    assert words in text


def test_tools_ask_for_models_that_are_known_to_call_them_reliably() -> None:
    policy = a_policy(a_rule("reliable", min_tool_reliability=0.8))
    assert routed(policy).route.model == "plain"
    decision = routed(policy, tools=["calculator"])
    assert decision.route.name == "alpha/small@eu"
    assert why_not(decision, "beta/small@eu") == (
        "reliable",
        "its reliability with tools is not known, and 0.8 is asked for",
    )


def test_a_rule_that_caps_the_output_makes_no_job_fit() -> None:
    terse = a_rule("terse", caps={"max_output_tokens": 10})
    assert why_not(routed(a_policy(terse), input_tokens=97_000), "alpha/small@eu")[0] == "catalog"
    assert refused(a_policy(terse), max_cost_usd="0.004").reasons[0].code == "budget_exceeded"
    assert routed(a_policy(), max_cost_usd="0.004", max_output_tokens=10)  # what the job itself asks for may


def test_a_batch_service_that_may_take_longer_than_the_job_has_is_left() -> None:
    hurried = a_policy(a_rule("hurry", caps={"deadline_ms": 3_600_000}))
    decision = routed(hurried, latency_class="batch", providers=["beta"])
    assert decision.route.tier == "standard"
    assert why_not(decision, "beta/small@eu (batch)") == (
        "hurry",
        "its batch service may take 24 hours, and the job has 1 hour",
    )


def test_the_tiers_of_a_route_are_no_fallbacks_of_each_other() -> None:
    decision = routed(a_policy(), latency_class="batch", providers=["beta", "gamma"])
    assert (decision.route.name, decision.route.tier) == ("beta/small@eu", "batch")
    assert [fallback.route.name for fallback in decision.fallbacks] == ["gamma/large@eu", "gamma/large@us"]


def test_a_route_is_one_fallback_at_whichever_tier() -> None:
    decision = routed(a_policy(), latency_class="batch", model="alpha/small", providers=["alpha", "beta"])
    tiers = [(fallback.route.name, fallback.route.tier) for fallback in decision.fallbacks]
    assert tiers == [("beta/small@eu", "batch"), ("alpha/plain@eu", "standard")]


def test_a_price_that_was_kept_is_the_price() -> None:
    content = a_catalog().content()
    content["prices"]["alpha/plain/standard"][0][1] *= 100
    kept = a_policy(catalog=Catalog.from_content(content))
    assert kept.catalog.hash != a_catalog().hash
    assert routed(kept).route.name == "alpha/small@eu"


def test_a_rule_that_rules_out_is_named_and_the_first_by_id() -> None:
    policy = a_policy(a_rule("b-rule", deny_providers=["beta"]), a_rule("a-rule", retention="zero"))
    assert why_not(routed(policy), "beta/small@eu") == (
        "a-rule",
        "the provider beta keeps data for 30 days, and it may keep none",
    )


def test_quality_is_by_task_family() -> None:
    models = [a_model(quality={"default": 0.9, "code": 0.4})]
    policy = a_policy(a_rule("floor", min_quality=0.5), catalog=Catalog([a_provider()], models, {"default": 400}))
    assert routed(policy, task="summarise")
    assert why_not(refused(policy, task="code"), "alpha/small@eu")[0] == "floor"


def test_money_that_does_not_reach_is_told_apart_from_no_route() -> None:
    broke = refused(a_policy(), max_cost_usd="0.0001")
    assert broke.reasons[0].code == "budget_exceeded"
    assert broke.reasons[0].rule == "job"
    assert why_not(broke, "gamma/large@eu") == (
        "job",
        "one attempt can cost 0.045 US dollars, and 0.0001 US dollars are allowed",
    )
    assert refused(a_policy(), regions=["mars"], max_cost_usd="0.0001").reasons[0].code == "no_route"


def test_only_routes_within_the_money_are_eligible() -> None:
    decision = routed(a_policy(a_rule("thrift", caps={"max_cost_usd": "0.012"})))
    assert {decision.route.provider, *(fallback.route.provider for fallback in decision.fallbacks)} == {"alpha"}
    assert why_not(decision, "beta/small@eu")[0] == "thrift"
    assert decision.budgets.max_cost_usd == Decimal("0.012")


def test_too_much_input_is_no_route() -> None:
    decision = refused(a_policy(a_rule("short", caps={"max_input_tokens": 500})))
    assert decision.reasons[0].code == "no_route"
    assert why_not(decision, "alpha/small@eu") == ("short", "the job has 1,000 input tokens, and 500 are allowed")


def test_an_unknown_alias_is_named() -> None:
    decision = refused(a_policy(), alias="staging")
    assert decision.reasons[0].code == "no_route"
    assert "'staging'" in decision.reasons[0].text


def test_an_alias_is_never_left_and_is_told() -> None:
    decision = routed(a_policy(), alias="first")
    assert (decision.route.name, decision.route.alias, decision.fallbacks) == ("alpha/small@eu", "first", [])


@pytest.mark.parametrize("wish", ["large", "gamma/large", "gamma/large@eu"])
def test_a_wish_is_kept_where_it_is_eligible(wish: str) -> None:
    decision = routed(a_policy(), model=wish)
    assert decision.route.name == "gamma/large@eu"
    assert "requested_model_kept" in codes(decision)


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"model": "gpt-1"}, "not in the catalog"),
        ({"model": "large", "alias": "first"}, "not among the targets"),
        ({"model": "small", "providers": ["gamma"]}, "not among those allowed"),
        ({"model": "gamma/large", "max_cost_usd": "0.02"}, "0.045 US dollars"),
    ],
)
def test_a_wish_that_is_not_eligible_is_replaced_with_a_reason(job: dict[str, Any], words: str) -> None:
    decision = routed(a_policy(), **job)
    reason = next(reason for reason in decision.reasons if reason.code == "requested_model_replaced")
    assert words in reason.text


def test_a_wish_may_leave_the_default_alias_but_not_a_named_one() -> None:
    policy = a_policy()
    narrow = Policy(policy.bundle, policy.catalog, policy.aliases.model_copy(update={"default": "first"}))
    decision = routed(narrow, model="large")
    assert (decision.route.name, decision.route.alias) == ("gamma/large@eu", None)
    assert "alpha/small@eu" in [fallback.route.name for fallback in decision.fallbacks]
    assert routed(narrow, model="large", alias="first").route.name == "alpha/small@eu"


def test_an_unavailable_provider_is_ruled_out_with_the_missing_name() -> None:
    gone = a_provider("gone", unavailable="its address needs GONE_URL, which is not set")
    policy = a_policy(catalog=Catalog([gone, a_provider()], [a_model("gone"), a_model("alpha")], {"default": 1}))
    assert why_not(routed(policy), "gone/small@eu") == (
        "catalog",
        "the provider gone cannot be called here: its address needs GONE_URL, which is not set",
    )


def test_caps_are_the_least_of_all_and_a_lowered_one_is_told() -> None:
    policy = a_policy(a_rule("terse", caps={"max_output_tokens": 300, "max_attempts": 2}))
    decision = routed(policy, max_output_tokens=900, max_tool_calls=3)
    assert (decision.budgets.max_output_tokens, decision.budgets.max_attempts) == (300, 2)
    assert decision.budgets.max_tool_calls == 3
    lowered = [reason for reason in decision.reasons if reason.code == "cap_lowered"]
    assert [(reason.rule, reason.text) for reason in lowered] == [
        ("terse", "The job asked for at most 900 output tokens, and 300 are allowed.")
    ]


def test_tools_intersect_and_approvals_unite() -> None:
    policy = a_policy(
        a_rule("a", tools_allowed=["kb_*", "email_send"], requires_approval_for=["*_send"]),
        a_rule("b", tools_allowed=["kb_retrieve", "email_send", "calculator"]),
    )
    decision = routed(policy, tools=["email_send", "kb_retrieve", "kb_write", "calculator"])
    assert decision.policy.tools_allowed == ["email_send", "kb_retrieve"]
    assert decision.policy.requires_approval_for == ["email_send"]
    removed = [(reason.rule, reason.text) for reason in decision.reasons if reason.code == "tools_removed"]
    assert [rule for rule, _ in removed] == ["a", "b"]
    assert "calculator" in removed[0][1]
    assert "kb_write" in removed[1][1]


def test_a_condition_that_cannot_be_evaluated_counts_as_true() -> None:
    policy = a_policy(a_rule("gold-only", 'user_tier.startsWith("gold")', deny_providers=["alpha"]))
    unknown = routed(policy)
    assert unknown.route.provider != "alpha"
    assert [reason.rule for reason in unknown.reasons if reason.code == "rule_error"] == ["gold-only"]
    assert routed(policy, user_tier="free").route.provider == "alpha"


def test_a_condition_that_is_not_true_or_false_counts_as_true() -> None:
    assert "rule_error" in codes(routed(a_policy(a_rule("counts", "size(tools)"))))


def test_reasons_say_what_was_found() -> None:
    said = {"code": "pii_present", "text": "{findings}"}
    policy = a_policy(a_rule("personal", "size(findings) > 0", reason=said))
    decision = routed(policy, findings={"iban": 1, "email": 2})
    reason = next(reason for reason in decision.reasons if reason.rule == "personal")
    assert (reason.code, reason.text) == ("pii_present", "2 e-mail addresses and 1 IBAN")


def test_inputs_change_with_the_catalog_only_where_it_changed() -> None:
    same, other = a_policy(), a_policy(catalog=Catalog([a_provider()], [a_model()], {"default": 1}))
    assert routed(a_policy()).inputs == routed(same).inputs
    assert routed(same).inputs.catalog != routed(other).inputs.catalog
    assert a_catalog().hash.startswith("sha256:")
