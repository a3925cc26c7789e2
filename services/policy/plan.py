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

from schemas.codes import LatencyClass, Operation
from schemas.decision import AppliedPolicy, Budgets, Reason, RuledOut
from schemas.features import Features
from services.policy.aliases import Alias, Aliases
from services.policy.bundle import Bundle, Rule
from services.policy.candidates import Bounds, Candidate, CandidateFinder
from services.policy.catalog import Catalog
from services.policy.effects import EscalationSpec
from services.policy.matching import REMEMBERED as RULES_REMEMBERED
from services.policy.matching import Fired, Matcher
from services.policy.prices import pico
from services.policy.reasons import default_limits, lowered, rule_error, tenant_regions, tools_removed
from services.policy.restrictions import AMOUNTS, Restrictions, meet
from services.policy.wording import Wording

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
    shadows: dict[int, Candidate]
    ruled_out: tuple[RuledOut, ...]
    alias: tuple[str, Alias] | None
    wish: str | None
    unknown_alias: str | None
    max_cost_pico: int
    limited_by: dict[str, str]
    """For each amount of the budgets, who set it: a rule, ``job`` or ``defaults``."""
    escalation: EscalationSpec | None
    holds_over_budget: bool
    bounds: Bounds | None
    gates_by_route: bool
    """Whether the risk budget of a route itself asks for somebody's word."""


class Planner:
    """Makes plans from a bundle, a catalog and aliases, and remembers the most recent ones."""

    def __init__(
        self,
        bundle: Bundle,
        catalog: Catalog,
        aliases: Aliases,
        *,
        remembered: int = REMEMBERED,
        rules_remembered: int | None = None,
    ) -> None:
        """Take the inputs; `remembered` is how many plans are kept, 0 for none; `rules_remembered` counts rules so."""
        self._bundle = bundle
        self._aliases = aliases
        read = sorted(bundle.reads | _FILTERED_BY)
        scalars = [name for name in read if name not in _CONTAINERS]
        self._containers = [(attrgetter(name), _CONTAINERS[name]) for name in read if name in _CONTAINERS]
        self._scalars = attrgetter(*scalars)
        self._names = (*scalars, *(name for name in read if name in _CONTAINERS))
        rules = min(remembered, RULES_REMEMBERED) if rules_remembered is None else rules_remembered
        self._matcher = Matcher(bundle.rules, _thaw, remembered=rules)
        self._finder = CandidateFinder(bundle, catalog, aliases)
        self._plan = lru_cache(maxsize=remembered)(self._make)

    def plan(self, features: Features, regions: frozenset[str] | None = None) -> Plan:
        """Return the plan for a job whose tenant allows these regions, or any."""
        return self._plan(
            self._scalars(features), tuple([freeze(value(features)) for value, freeze in self._containers]), regions
        )

    def fired(self, features: Features) -> list[Fired]:
        """Return the rules that apply to a job, in the order of their ids."""
        values = (*self._scalars(features), *[freeze(value(features)) for value, freeze in self._containers])
        return self._matcher.fired(dict(zip(self._names, values, strict=True)))

    def _make(self, scalars: tuple[Any, ...], containers: tuple[Any, ...], regions: frozenset[str] | None) -> Plan:
        frozen = dict(zip(self._names, scalars + containers, strict=True))
        job = {name: _thaw(name, value) for name, value in frozen.items()}
        latency_class = LatencyClass(job["latency_class"])
        defaults, own = self._bundle.defaults[latency_class], _own_limits(job)
        fired = self._matcher.fired(frozen)
        sources = [("defaults", defaults), ("job", own)]
        reasons: list[Reason | tuple[Rule, Wording]] = [default_limits(latency_class, defaults)]
        if regions is not None:
            sources.append(("tenant", Restrictions(allow_regions=regions)))
            reasons.append(tenant_regions(regions))
        sources += [(rule.id, rule.restrictions) for rule, _ in fired]
        limits = meet([restrictions for _, restrictions in sources])
        limited_by = {name: _tightest(name, getattr(limits, name), sources) for name in AMOUNTS}
        policy = self._applied(job, limits)
        budgets = Budgets(**{name: getattr(limits, name) for name in AMOUNTS})
        fit_output = meet([defaults, own]).max_output_tokens
        assert fit_output is not None, "every latency class has its ceilings"
        permitted = self._finder.permitted(job, limits, fit_output, sources)
        alias = job["alias"] or self._aliases.default
        asks = job["operation"] == Operation.CHAT and not limits.no_escalation
        return Plan(
            latency_class=latency_class,
            policy=policy,
            budgets=budgets,
            reasons=(
                *reasons,
                *(_said(one) for one in fired),
                *lowered(job, budgets, limited_by),
                *tools_removed(job, policy, sources),
            ),
            candidates=permitted.candidates,
            shadows=permitted.shadows,
            ruled_out=permitted.ruled_out,
            alias=None if permitted.unknown_alias else (alias, self._aliases.aliases[alias]),
            wish=job["model"],
            unknown_alias=permitted.unknown_alias,
            max_cost_pico=pico(budgets.max_cost_usd),
            limited_by=limited_by,
            escalation=self._bundle.classes[latency_class].escalation if asks else None,
            holds_over_budget=not limits.reject_over_budget,
            bounds=Bounds.of(permitted.candidates),
            gates_by_route=any(found.gated for found in permitted.candidates),
        )

    def _applied(self, job: dict[str, Any], limits: Restrictions) -> AppliedPolicy:
        tools = [tool for tool in sorted(set(job["tools"])) if limits.allows_tool(tool)]
        gated = [tool for tool in tools if limits.needs_word(tool)]
        return AppliedPolicy(
            bundle=self._bundle.hash,
            risk_tier=job["risk_tier"],
            safety_mode="strict" if limits.strict else "standard",
            tools_allowed=tools,
            requires_approval_for=gated,
            confirmation_suffices_for=[tool for tool in gated if not limits.needs_person(tool)],
            tools_sandboxed=[tool for tool in tools if limits.needs_sandbox(tool)],
            prompt_layout="isolated" if limits.isolated else "standard",
            logging="strict" if limits.strict_logging else "standard",
            redact=sorted(limits.redacted),
            require_citations=limits.require_citations,
            human_review=limits.human_review,
            retention="zero" if limits.zero_retention else "any",
        )


_TABLES: Final = frozenset({"findings", "tool_scopes", "tokens_at_most"})
_CONTAINERS: Final[dict[str, Callable[[Any], Any]]] = {
    "tools": tuple,
    "domains": tuple,
    "untrusted_sources": tuple,
    "injection_signals": tuple,
    "regions": lambda value: None if value is None else tuple(value),
    "providers": lambda value: None if value is None else tuple(value),
    **dict.fromkeys(_TABLES, lambda value: tuple(sorted(value.items()))),
}
"""The features that cannot be hashed as they are, and how each is frozen."""


def _thaw(name: str, value: Any) -> Any:
    if name in _TABLES:
        return {key: _plain(item) for key, item in value}
    return list(value) if isinstance(value, tuple) else _plain(value)


def _plain(value: Any) -> Any:
    # Conditions compare with plain strings, so the vocabularies' members become what they are in JSON.
    return str(value) if isinstance(value, str) else value


def _own_limits(job: dict[str, Any]) -> Restrictions:
    return Restrictions(
        allow_regions=None if job["regions"] is None else frozenset(job["regions"]),
        allow_providers=None if job["providers"] is None else frozenset(job["providers"]),
        max_retention_days=0 if job["retention"] == "zero" else None,
        max_output_tokens=job["max_output_tokens"],
        max_tool_calls=job["max_tool_calls"],
        max_cost_usd=None if job["max_cost_usd"] is None else Decimal(job["max_cost_usd"]),
    )


def _tightest(name: str, value: Any, sources: list[tuple[str, Restrictions]]) -> str:
    return next(source for source, restrictions in sources if getattr(restrictions, name) == value)


def _said(fired: Fired) -> Reason | tuple[Rule, Wording]:
    rule, error = fired
    if error is not None:
        return rule_error(rule, error)
    text = rule.wording.fixed
    return (rule, rule.wording) if text is None else Reason(code=rule.code, rule=rule.id, text=text)
