"""What another policy, or a day without a provider, would change for recorded jobs."""

from __future__ import annotations

import json
from decimal import Decimal

from policy_builders import a_job, a_policy, a_rule

from schemas.codes import LatencyClass
from schemas.decision import Decision
from services.policy import Circumstances, Closed, Health, Policy
from services.policy.backtest import Recorded, backtest, drill, rederived

JOBS = [
    a_job(input_tokens=tokens, data_class=data_class, latency_class=latency_class, tools=tools)
    for tokens in (100, 5_000)
    for data_class in ("internal", "regulated")
    for latency_class in LatencyClass
    for tools in ([], ["kb_retrieve", "email_send"])
]


def recorded(policy: Policy) -> list[Recorded]:
    return [Recorded(job, decision=policy.decide(job), record=str(at)) for at, job in enumerate(JOBS)]


def test_the_same_policy_changes_nothing() -> None:
    found = backtest(recorded(a_policy()), a_policy())
    assert (found.jobs, found.unchanged, found.examples) == (len(JOBS), len(JOBS), [])
    assert found.cost_before == found.cost_after > 0


def test_a_stricter_policy_is_told_by_routes_violations_and_tools() -> None:
    strict = a_policy(
        a_rule("apart", 'data_class == "regulated"', allow_hosting=["private"], tools_allowed=["kb_*"]),
        a_rule("asked", "size(tools) > 0", requires_confirmation_for=["*_send"]),
    )
    found = backtest(recorded(a_policy()), strict)
    regulated = len(JOBS) // 2
    assert found.kinds["route"] == regulated
    assert sum(found.violations.values()) == regulated
    assert any("has to be private" in why for why in found.violations)
    assert sum(count for (_, to), count in found.moved.items() if to.startswith("gamma/large")) == regulated
    assert found.kinds["tools"] == regulated // 2
    assert found.kinds["approvals"] == len(JOBS) // 2 - regulated // 2
    assert found.cost_after > found.cost_before
    assert found.unchanged == len(JOBS) // 4


def test_jobs_that_would_be_rejected_are_counted_by_the_rule() -> None:
    found = backtest(recorded(a_policy()), a_policy(a_rule("thrift", caps={"max_cost_usd": "0"})), a_policy())
    assert found.kinds["rejected"] == len(JOBS)
    assert found.rejected_by == {"thrift": len(JOBS)}
    assert found.cost_after == Decimal(0)


def test_a_drill_tells_who_takes_over_and_who_waits() -> None:
    policy = a_policy(a_rule("home", 'data_class == "regulated"', allow_providers=["alpha"]))
    found = drill([Recorded(job) for job in JOBS], policy, "alpha")
    assert found.waits_for == {"outage": len(JOBS) // 2}
    assert {left.partition("/")[0] for left, _ in found.moved} == {"alpha"}
    assert not any(right.startswith("alpha") for _, right in found.moved)
    assert found.cost_after > found.cost_before


def test_a_thousand_decisions_come_out_again_from_what_was_kept_while_everything_changed() -> None:
    policies = [
        a_policy(),
        a_policy(a_rule("r", "input_tokens > 500", deny_providers=["alpha"])),
        a_policy(a_rule("r", 'data_class == "regulated"', retention="zero"), max_attempts=2),
    ]
    kept = [json.dumps([it.bundle.content(), it.catalog.content(), it.aliases.content()]) for it in policies]
    again = [Policy.from_content(*json.loads(text)) for text in kept]
    for number in range(1_000):
        job = JOBS[number % len(JOBS)].model_copy(update={"input_tokens": number * 37})
        health = Health.of([Closed("beta", "outage")] if number % 3 else [])
        now = Circumstances(f"record-{number}", health)
        which = number % len(policies)
        decision = policies[which].decide(job, None, now)
        stored = type(decision).model_validate_json(decision.model_dump_json())
        assert rederived(Recorded(job, None, now, stored), again[which])


def test_a_decision_by_another_policy_does_not_come_out_again() -> None:
    job = a_job()
    decision = a_policy().decide(job)
    assert isinstance(decision, Decision)
    other = a_policy(a_rule("r", "true", human_review=True))
    assert not rederived(Recorded(job, decision=decision), other)
