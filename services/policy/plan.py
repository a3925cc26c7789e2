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

from schemas.codes import LatencyClass, Operation
from schemas.decision import AppliedPolicy, Budgets, Fallback, Reason, Route, RuledOut
from schemas.features import Features
from services.policy.aliases import Aliases
from services.policy.bundle import Bundle, Rule
from services.policy.catalog import Catalog, Offer
from services.policy.condition import ConditionError
from services.policy.prices import Price, pico
from services.policy.restrictions import AMOUNTS, Restrictions, meet
from services.policy.wording import Wording, dollars, duration, joined

REMEMBERED: Final = 1_024
"""Plans kept; with 50 routes in the catalog one takes about 25 KB."""

FALLBACK_WHEN: Final = ["timeout_or_5xx", "rate_limit", "route_broken"]

_FILTERED_BY: Final = frozenset(
    {"latency_class", "operation", "task", "tools", "structured_output", "risk_tier", "alias", "model"}
    | {"regions", "providers", "retention", "max_output_tokens", "max_tool_calls", "max_cost_usd"}
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A permitted route, ready to be put into a decision."""

    route: Route
    fallback: Fallback
    price: Price
    context_window: int
    max_output_tokens: int
    latency_ms: int
    quality: float
    wished: bool

    @property
    def label(self) -> str:
        """The route's name, and its tier where it is not the standard one."""
        return self.route.name if self.route.tier == "standard" else f"{self.route.name} ({self.route.tier})"


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
    expected_output_tokens: int
    max_cost_pico: int
    limited_by: dict[str, str]
    """For each amount of the budgets, who set it: a rule, ``job`` or ``defaults``."""


class Planner:
    """Makes plans from a bundle, a catalog and aliases, and remembers the most recent ones."""

    def __init__(self, bundle: Bundle, catalog: Catalog, aliases: Aliases, *, remembered: int = REMEMBERED) -> None:
        """Take the inputs; `remembered` is how many plans are kept, 0 for none."""
        self._bundle = bundle
        self._catalog = catalog
        self._aliases = aliases
        read = sorted(bundle.reads | _FILTERED_BY)
        scalars = [name for name in read if name not in _CONTAINERS]
        self._containers = [(attrgetter(name), _CONTAINERS[name]) for name in read if name in _CONTAINERS]
        self._scalars = attrgetter(*scalars)
        self._names = (*scalars, *(name for name in read if name in _CONTAINERS))
        self._plan = lru_cache(maxsize=remembered)(self._make)

    def plan(self, features: Features) -> Plan:
        """Return the plan for a job."""
        return self._plan(
            self._scalars(features), tuple([freeze(value(features)) for value, freeze in self._containers])
        )

    def _make(self, scalars: tuple[Any, ...], containers: tuple[Any, ...]) -> Plan:
        job = {name: _thaw(name, value) for name, value in zip(self._names, scalars + containers, strict=True)}
        latency_class = LatencyClass(job["latency_class"])
        fired, reasons = self._fired(job)
        sources = [("defaults", self._bundle.defaults[latency_class]), ("job", _own_limits(job))]
        sources += [(rule.id, rule.restrictions) for rule in fired]
        limits = meet(restrictions for _, restrictions in sources)
        limited_by = {name: _tightest(name, getattr(limits, name), sources) for name in AMOUNTS}
        policy = self._applied(job, limits)
        budgets = Budgets(**{name: getattr(limits, name) for name in AMOUNTS})
        candidates, ruled_out, unknown_alias = self._permitted(job, limits, sources)
        is_chat = job["operation"] == Operation.CHAT
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
            expected_output_tokens=self._catalog.expected_output(job["task"]) if is_chat else 0,
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

    def _permitted(
        self, job: dict[str, Any], limits: Restrictions, sources: list[tuple[str, Restrictions]]
    ) -> tuple[tuple[Candidate, ...], tuple[RuledOut, ...], str | None]:
        name = job["alias"] or self._aliases.default
        if (alias := self._aliases.aliases.get(name)) is None:
            return (), (), name
        candidates: list[Candidate] = []
        ruled_out: dict[str, RuledOut] = {}
        for offer in self._catalog.offers_for(LatencyClass(job["latency_class"])):
            route = offer.route
            wished = _is_wish(job["model"], route)
            behind = alias.matches(route)
            # A job that names no alias may wish for any model that policy permits: the default is no order of its own.
            if not behind and not (wished and job["alias"] is None):
                why: tuple[str, str] | None = ("alias", f"it is not among the targets of the alias {name}")
            else:
                why = _incapable(offer, job) or _forbidden(offer, job["task"], limits, sources)
            if why is not None:
                # A route has the same reasons at both its tiers, and is told once.
                ruled_out.setdefault(route.name, RuledOut(route=route.name, rule=why[0], text=why[1]))
                continue
            named = route.model_copy(update={"alias": name if behind else None})
            candidates.append(
                Candidate(
                    route=named,
                    fallback=Fallback(route=named, when=FALLBACK_WHEN),
                    price=offer.price,
                    context_window=offer.model.context_window,
                    max_output_tokens=offer.model.max_output_tokens,
                    latency_ms=offer.model.latency_ms,
                    quality=offer.model.quality_for(job["task"]),
                    wished=wished,
                )
            )
        candidates.sort(key=lambda found: (found.latency_ms, -found.quality, found.route.name, found.route.tier))
        return tuple(candidates), tuple(ruled_out.values()), None


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


def _is_wish(wish: str | None, route: Route) -> bool:
    return wish is not None and wish in (route.model, f"{route.provider}/{route.model}", route.name)


def _incapable(offer: Offer, job: dict[str, Any]) -> tuple[str, str] | None:
    can = offer.model.capabilities
    if job["operation"] not in can:
        return "catalog", f"it cannot do the operation {job['operation']}"
    # By what the job asks, not by what policy leaves of it: else a rule that takes tools away would add routes.
    if job["tools"] and "tools" not in can:
        return "catalog", "it cannot call tools"
    if job["structured_output"] and "structured" not in can:
        return "catalog", "it cannot answer in a given structure"
    if offer.provider.unavailable is not None:
        return "catalog", f"the provider {offer.provider.name} cannot be called here: {offer.provider.unavailable}"
    return None


def _forbidden(
    offer: Offer, task: str, limits: Restrictions, sources: list[tuple[str, Restrictions]]
) -> tuple[str, str] | None:
    if limits.excludes(offer, task) is None:
        return None
    return next(
        (source, why) for source, restrictions in sources if (why := restrictions.excludes(offer, task)) is not None
    )


def _default_limits(latency_class: LatencyClass, limits: Restrictions) -> Reason:
    return Reason(
        code="default_limits",
        rule="defaults",
        text=f"A {latency_class} job may take {duration(limits.deadline_ms or 0)}, {limits.max_attempts} attempts and "
        f"{dollars(limits.max_cost_usd or Decimal(0))} unless something below allows less.",
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
