"""The reasons that a plan gives beside those of its rules: what was lowered, taken away, or held against a job."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from schemas.codes import LatencyClass
from schemas.decision import AppliedPolicy, Budgets, Reason
from services.policy.bundle import Rule
from services.policy.restrictions import Restrictions
from services.policy.wording import dollars, duration, joined


def default_limits(latency_class: LatencyClass, limits: Restrictions) -> Reason:
    """Return what every job of a latency class may take."""
    return Reason(
        code="default_limits",
        rule="defaults",
        text=f"A {latency_class} job may take {duration(limits.deadline_ms or 0)}, {limits.max_attempts} attempts and "
        f"{dollars(limits.max_cost_usd or Decimal(0))} unless something below allows less.",
    )


def tenant_regions(regions: frozenset[str]) -> Reason:
    """Return in which regions a tenant's jobs may be processed."""
    return Reason(
        code="tenant_regions",
        rule="tenant",
        text=f"What was agreed with this tenant allows its jobs in {joined(sorted(regions))} alone.",
    )


def rule_error(rule: Rule, error: str) -> Reason:
    """Return that a rule applies because its condition could not be evaluated."""
    return Reason(
        code="rule_error",
        rule=rule.id,
        text=f"The condition of this rule could not be evaluated ({error}), so that the rule applies: "
        f"{rule.spec.description}",
    )


def lowered(job: dict[str, Any], budgets: Budgets, limited_by: dict[str, str]) -> list[Reason]:
    """Return which of the caps that the job asked for were lowered."""
    asked = {
        "max_output_tokens": (job["max_output_tokens"], "output tokens"),
        "max_tool_calls": (job["max_tool_calls"], "tool calls"),
        "max_cost_usd": (None if job["max_cost_usd"] is None else Decimal(job["max_cost_usd"]), "US dollars"),
    }
    return [
        Reason(
            code="cap_lowered",
            rule=limited_by[name],
            text=f"The job asked for at most {wanted:,f} {unit}, and {allowed:,f} are allowed."
            if isinstance(wanted, Decimal)
            else f"The job asked for at most {wanted:,} {unit}, and {allowed:,} are allowed.",
        )
        for name, (wanted, unit) in asked.items()
        if wanted is not None and (allowed := getattr(budgets, name)) < wanted
    ]


def tools_removed(job: dict[str, Any], policy: AppliedPolicy, sources: list[tuple[str, Restrictions]]) -> list[Reason]:
    """Return which of the tools that the job asked for were taken away, and by whom."""
    removed = sorted(set(job["tools"]) - set(policy.tools_allowed))
    reasons = []
    for source, restrictions in sources:
        by_this = [tool for tool in removed if not restrictions.allows_tool(tool)]
        if by_this:
            text = f"The tools {joined(by_this)} were asked for and are not allowed."
            reasons.append(Reason(code="tools_removed", rule=source, text=text))
            removed = [tool for tool in removed if tool not in by_this]
    return reasons
