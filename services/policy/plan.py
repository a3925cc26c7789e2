"""What a decision owes to a job's attributes alone: rules joined, budgets, and the routes permitted.

Sizes of jobs vary without end, their attributes repeat. So a decision is made in two steps: a :class:`Plan` from the
attributes that rules and filters read, and the choice among its candidates by what this job's tokens cost
(:mod:`services.policy.choice`). Plans are kept in a bounded LRU, and they are computed *from the key*: whatever is not
in the key cannot reach them, so that a remembered plan is always the one that would be made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import cel

from schemas.codes import LatencyClass
from schemas.decision import AppliedPolicy, Budgets, Reason, RuledOut
from schemas.features import Features
from services.policy.aliases import Aliases
from services.policy.bundle import Bundle, Rule
from services.policy.candidates import Candidate, CandidateFinder
from services.policy.catalog import Catalog
from services.policy.condition import ConditionError
from services.policy.prices import pico
from services.policy.restrictions import AMOUNTS, Restrictions, meet
from services.policy.wording import Wording, dollars, duration, joined

REMEMBERED: Final = 1_024
"""Plans kept; with 50 routes in the catalog one takes about 25 KB."""

_FILTERED_BY: Final = frozenset(
    {"latency_class", "operation", "task", "tools", "structured_output", "risk_tier", "alias", "model"}
    | {"regions", "providers", "retention", "max_output_tokens", "max_tool_calls", "max_cost_usd"}
)


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """What the job's tenant has agreed to, from outside of the bundle: it only narrows, like a rule."""

    version: str
    """Of the tenants that it was taken from, so that the decision can be made again."""
    regions: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a decision that does not depend on the job's size. Candidates stand in the order that breaks ties."""

    latency_class: LatencyClass
    policy: AppliedPolicy
    budgets: Budgets
    reasons: tuple[Reason | tuple[Rule, Wording], ...]
    candidates: tuple[Candidate, ...]
    ruled_out: tuple[RuledOut, ...]
    wish: str | None
    unknown_alias: str | None
    max_cost_pico: int
    limited_by: dict[str, str]
    """For each amount of the budgets, who set it: a rule, ``job`` or ``defaults``."""


class Planner:
    """Makes plans from a bundle, a catalog and aliases, and remembers the most recent ones."""

    def __init__(self, bundle: Bundle, catalog: Catalog, aliases: Aliases, *, remembered: int = REMEMBERED) -> None:
        """Take the inputs; `remembered` is how many plans are kept, 0 for none."""
        self._bundle = bundle
        read = sorted(bundle.reads | _FILTERED_BY)
        scalars = [name for name in read if name not in _CONTAINERS]
        self._containers = [(attrgetter(name), _CONTAINERS[name]) for name in read if name in _CONTAINERS]
        self._scalars = attrgetter(*scalars)
        self._names = (*scalars, *(name for name in read if name in _CONTAINERS))
        self._finder = CandidateFinder(catalog, aliases)
        self._plan = lru_cache(maxsize=remembered)(self._make)

    def plan(self, features: Features, regions: frozenset[str] | None = None) -> Plan:
        """Return the plan for a job whose tenant allows these regions, or any."""
        return self._plan(
            self._scalars(features), tuple([freeze(value(features)) for value, freeze in self._containers]), regions
        )

    def _make(self, scalars: tuple[Any, ...], containers: tuple[Any, ...], regions: frozenset[str] | None) -> Plan:
        job = {name: _thaw(name, value) for name, value in zip(self._names, scalars + containers, strict=True)}
        latency_class = LatencyClass(job["latency_class"])
        fired, reasons = self._fired(job)
        sources = [("defaults", self._bundle.defaults[latency_class]), ("job", _own_limits(job))]
        if regions is not None:
            sources.append(("tenant", Restrictions(allow_regions=regions)))
            reasons.append(_tenant_regions(regions))
        sources += [(rule.id, rule.restrictions) for rule in fired]
        limits = meet(restrictions for _, restrictions in sources)
        limited_by = {name: _tightest(name, getattr(limits, name), sources) for name in AMOUNTS}
        policy = self._applied(job, limits)
        budgets = Budgets(**{name: getattr(limits, name) for name in AMOUNTS})
        candidates, ruled_out, unknown_alias = self._finder.permitted(job, limits, sources)
        return Plan(
            latency_class=latency_class,
            policy=policy,
            budgets=budgets,
            reasons=(
                _default_limits(latency_class, self._bundle.defaults[latency_class]),
                *reasons,
                *_lowered(job, budgets, limited_by),
                *_tools_removed(job, policy, sources),
            ),
            candidates=candidates,
            ruled_out=ruled_out,
            wish=job["model"],
            unknown_alias=unknown_alias,
            max_cost_pico=pico(budgets.max_cost_usd),
            limited_by=limited_by,
        )

    def _fired(self, job: dict[str, Any]) -> tuple[list[Rule], list[Reason | tuple[Rule, Wording]]]:
        context = cel.Context()
        context.update({name: job[name] for name in self._bundle.reads})
        fired: list[Rule] = []
        reasons: list[Reason | tuple[Rule, Wording]] = []
        for rule in self._bundle.rules:
            try:
                if not rule.condition.holds(context):
                    continue
            except ConditionError as error:
                reasons.append(
                    Reason(
                        code="rule_error",
                        rule=rule.id,
                        text=f"The condition of this rule could not be evaluated ({error}), so that the rule applies: "
                        f"{rule.spec.description}",
                    )
                )
            else:
                text = rule.wording.fixed
                reasons.append(
                    (rule, rule.wording) if text is None else Reason(code=rule.code, rule=rule.id, text=text)
                )
            fired.append(rule)
        return fired, reasons

    def _applied(self, job: dict[str, Any], limits: Restrictions) -> AppliedPolicy:
        tools = [tool for tool in sorted(set(job["tools"])) if limits.allows_tool(tool)]
        return AppliedPolicy(
            bundle=self._bundle.hash,
            risk_tier=job["risk_tier"],
            safety_mode="strict" if limits.strict else "standard",
            tools_allowed=tools,
            requires_approval_for=[tool for tool in tools if limits.needs_approval(tool)],
            require_citations=limits.require_citations,
            human_review=limits.human_review,
            retention="zero" if limits.zero_retention else "any",
        )


_CONTAINERS: Final[dict[str, Callable[[Any], Any]]] = {
    "tools": tuple,
    "domains": tuple,
    "regions": lambda value: None if value is None else tuple(value),
    "providers": lambda value: None if value is None else tuple(value),
    "findings": lambda value: tuple(sorted(value.items())),
}
"""The features that cannot be hashed as they are, and how each is frozen."""


def _thaw(name: str, value: Any) -> Any:
    if name == "findings":
        return dict(value)
    # Conditions compare with plain strings, so the vocabularies' members become what they are in JSON.
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, str) else value


def _own_limits(job: dict[str, Any]) -> Restrictions:
    return Restrictions(
        allow_regions=None if job["regions"] is None else frozenset(job["regions"]),
        allow_providers=None if job["providers"] is None else frozenset(job["providers"]),
        zero_retention=job["retention"] == "zero",
        max_output_tokens=job["max_output_tokens"],
        max_tool_calls=job["max_tool_calls"],
        max_cost_usd=None if job["max_cost_usd"] is None else Decimal(job["max_cost_usd"]),
    )


def _tightest(name: str, value: Any, sources: list[tuple[str, Restrictions]]) -> str:
    return next(source for source, restrictions in sources if getattr(restrictions, name) == value)


def _default_limits(latency_class: LatencyClass, limits: Restrictions) -> Reason:
    return Reason(
        code="default_limits",
        rule="defaults",
        text=f"A {latency_class} job may take {duration(limits.deadline_ms or 0)}, {limits.max_attempts} attempts and "
        f"{dollars(limits.max_cost_usd or Decimal(0))} unless something below allows less.",
    )


def _tenant_regions(regions: frozenset[str]) -> Reason:
    return Reason(
        code="tenant_regions",
        rule="tenant",
        text=f"What was agreed with this tenant allows its jobs in {joined(sorted(regions))} alone.",
    )


def _lowered(job: dict[str, Any], budgets: Budgets, limited_by: dict[str, str]) -> list[Reason]:
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


def _tools_removed(job: dict[str, Any], policy: AppliedPolicy, sources: list[tuple[str, Restrictions]]) -> list[Reason]:
    removed = sorted(set(job["tools"]) - set(policy.tools_allowed))
    reasons = []
    for source, restrictions in sources:
        by_this = [tool for tool in removed if not restrictions.allows_tool(tool)]
        if by_this:
            text = f"The tools {joined(by_this)} were asked for and are not allowed."
            reasons.append(Reason(code="tools_removed", rule=source, text=text))
            removed = [tool for tool in removed if tool not in by_this]
    return reasons
