"""Which routes a job is permitted to take, and for every other one the first thing that rules it out."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from schemas.codes import LatencyClass
from schemas.decision import Route, RuledOut
from services.policy.aliases import Alias, Aliases
from services.policy.bundle import Bundle
from services.policy.catalog import Catalog, Offer
from services.policy.effects import RouteLimitsSpec
from services.policy.prices import pico
from services.policy.restrictions import Restrictions, matches
from services.policy.wording import counted, duration

LAST: Final = 8
"""Of what only takes over: a fallback that the alias names, and no target of it."""
_UNWISHED: Final = 4
UNPICKED: Final = 2
"""Between a wish and the discount: whether an alias's shares gave the job to another target."""
_UNDISCOUNTED: Final = 1
_HOUR_MS: Final = 3_600_000


class Line(NamedTuple):
    """What a call costs in pico-dollars as a line over its input tokens, for calls with more than `above` of them.

    `fit_output` is what output can cost by the ceilings that no rule has lowered: by it a route fits or not.
    """

    above: int
    expected_per_token: int
    expected_output: int
    worst_per_token: int
    worst_output: int
    fit_output: int


class Candidate(NamedTuple):
    """A permitted route, ready to be put into a decision; `preference` comes before cost, the lower the better."""

    route: Route
    lines: tuple[Line, ...]
    context_window: int
    context_left: int
    fit_output_tokens: int
    expected_output_tokens: int
    latency_ms: int
    quality: float
    preference: int
    wished: bool
    choice: int
    """Its place among the alias's choices, -1 where it is none of them."""
    when: tuple[str, ...] = ()
    """After which failures the alias itself names it as a fallback."""
    named: int = -1
    """Its place among the fallbacks that the alias names."""
    max_cost_pico: int | None = None
    gated: frozenset[str] = frozenset()
    """The tools that this route's risk budget does not let be called without anybody's word."""

    @property
    def label(self) -> str:
        """The route's name, and its tier where it is not the standard one."""
        return self.route.name if self.route.tier == "standard" else f"{self.route.name} ({self.route.tier})"

    def line(self, input_tokens: int) -> Line:
        """Return the cost of calls of this size."""
        found = self.lines[0]
        for line in self.lines[1:]:
            if input_tokens > line.above:
                found = line
        return found


class Bounds(NamedTuple):
    """What lets most jobs be seen to fit every candidate at a glance, without looking at each."""

    context_left: int
    per_token: int
    output: int
    max_cost: int | None
    lines: tuple[tuple[int, int, int, int], ...]
    """Of each candidate its preference, expected cost per token and for output, and its place."""

    @classmethod
    def of(cls, candidates: tuple[Candidate, ...]) -> Bounds | None:
        """Return the bounds; ``None`` where there is no candidate, or one whose price changes with the input's size."""
        if not candidates or any(len(found.lines) > 1 for found in candidates):
            return None
        first = [found.lines[0] for found in candidates]
        return cls(
            context_left=min(found.context_left for found in candidates),
            per_token=max(line.worst_per_token for line in first),
            output=max(line.fit_output for line in first),
            max_cost=min((cap for found in candidates if (cap := found.max_cost_pico) is not None), default=None),
            lines=tuple(
                (found.preference, line.expected_per_token, line.expected_output, place)
                for place, (found, line) in enumerate(zip(candidates, first, strict=True))
            ),
        )

    def all_fit(self, tokens: int, budget_pico: int) -> bool:
        """Tell whether a job of this size fits every candidate; where it says no, some may fit all the same."""
        worst = tokens * self.per_token + self.output
        return (
            tokens <= self.context_left and worst <= budget_pico and (self.max_cost is None or worst <= self.max_cost)
        )


class Permitted(NamedTuple):
    """What is left of the catalog for a job: in the order that breaks ties, and what is ruled out."""

    candidates: tuple[Candidate, ...] = ()
    shadows: dict[int, Candidate] = {}  # noqa: RUF012 - a NamedTuple's default, never changed
    """By their place among the alias's shadows."""
    ruled_out: tuple[RuledOut, ...] = ()
    unknown_alias: str | None = None


class _Stand(NamedTuple):
    """How an offer stands behind an alias."""

    route: Route
    choice: int
    fallback: int
    shadow: int


class _RouteLimits(NamedTuple):
    """What the bundle allows on one route alone."""

    max_cost_pico: int | None
    unattended: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, route: Route, limits: tuple[RouteLimitsSpec, ...]) -> _RouteLimits:
        own = [spec for spec in limits if matches(route.name, [spec.route])]
        return cls(
            min((pico(cap) for spec in own if (cap := spec.max_cost_usd) is not None), default=None),
            tuple(spec.unattended_tools for spec in own if spec.unattended_tools is not None),
        )

    def gated(self, tools: list[str]) -> frozenset[str]:
        """Return the tools that are not called without anybody's word on this route."""
        if not self.unattended:
            return frozenset()
        return frozenset(tool for tool in tools if not all(matches(tool, allowed) for allowed in self.unattended))


class _Sized(NamedTuple):
    """How long an answer of one offer is expected to be and, where no rule lowers it, may be; and what it costs."""

    expected: int
    fit: int
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, offer: Offer, expected: int, cap: int | None, fit: int) -> _Sized:
        ceiling = offer.model.max_output_tokens
        most, fit = ceiling if cap is None else min(cap, ceiling), min(fit, ceiling)
        expected = min(expected, most)
        lines = [
            Line(
                band.above,
                band.input,
                expected * band.output + band.request,
                band.dearest_input,
                most * band.output + band.request,
                fit * band.output + band.request,
            )
            for band in offer.price.bands
        ]
        return cls(expected, fit, tuple(lines))


class CandidateFinder:
    """Filters the catalog's offers for jobs, given as their attributes in plain values."""

    def __init__(self, bundle: Bundle, catalog: Catalog, aliases: Aliases) -> None:
        """Take the inputs."""
        self._catalog = catalog
        self._aliases = aliases
        self._behind = {name: _behind(name, alias, catalog) for name, alias in aliases.aliases.items()}
        self._limits = [_RouteLimits.of(offer.route, bundle.routes) for offer in catalog.offers]
        # Caps and tasks are few: the same sizes come again in many plans.
        self._sized = lru_cache(maxsize=128)(
            lambda expected, cap, fit: [_Sized.of(offer, expected, cap, fit) for offer in catalog.offers]
        )

    def permitted(
        self, job: dict[str, Any], limits: Restrictions, fit_output: int, sources: list[tuple[str, Restrictions]]
    ) -> Permitted:
        """Return what is permitted to a job.

        `limits` is the meet of the restrictions of `sources`, which say whose each of them is; `fit_output` is the
        ceiling of output tokens that no rule has lowered.
        """
        name = job["alias"] or self._aliases.default
        if (behind := self._behind.get(name)) is None:
            return Permitted(unknown_alias=name)
        named = self._aliases.aliases[name].fallbacks
        candidates: list[Candidate] = []
        shadows: dict[int, Candidate] = {}
        ruled_out: dict[str, RuledOut] = {}
        elsewhere: dict[str, None] = {}
        takes_batch = job["latency_class"] == LatencyClass.BATCH
        by_model = limits.restricts_models
        excluded = {
            provider.name: limits.excludes_provider(provider) is not None
            for provider in self._catalog.providers.values()
        }
        sized = self._sized(self._catalog.expected_output(job["task"]), limits.max_output_tokens, fit_output)
        for place, offer in enumerate(self._catalog.offers):
            route = offer.route
            batch = route.tier == "batch"
            if batch and not takes_batch:
                continue
            wished = job["model"] is not None and _is_wish(job["model"], route)
            stand = behind.get(place)
            # A job that names no alias may wish for any model that policy permits: the default is no order of its own.
            if stand is None and not (wished and job["alias"] is None):
                # Told in one line: a large catalog would else be repeated in every decision.
                elsewhere[route.name] = None
                continue
            why = _incapable(offer, job)
            if why is None and (excluded[route.provider] or (by_model and limits.excludes_model(offer, job))):
                why = _forbidden(offer, job, sources)
            if why is not None:
                # A route has the same reasons at both its tiers, and is told once.
                ruled_out.setdefault(route.name, RuledOut(route=route.name, rule=why[0], text=why[1]))
                continue
            if batch and (late := _too_late(offer, limits, sources)) is not None:
                label = f"{route.name} (batch)"
                ruled_out[label] = RuledOut(route=label, rule=late[0], text=late[1])
                continue
            stand = stand or _Stand(route, -1, -1, -1)
            own, size = self._limits[place], sized[place]
            preference = (0 if stand.choice >= 0 or wished else LAST) + (0 if wished else _UNWISHED)
            found = Candidate(
                route=stand.route,
                lines=size.lines,
                context_window=offer.model.context_window,
                context_left=offer.model.context_window - size.fit,
                fit_output_tokens=size.fit,
                expected_output_tokens=size.expected,
                latency_ms=offer.model.latency_ms,
                quality=offer.model.quality_for(job["task"]),
                preference=preference + (_UNDISCOUNTED if takes_batch and not batch else 0),
                wished=wished,
                choice=stand.choice,
                when=named[stand.fallback].when if stand.fallback >= 0 else (),
                named=stand.fallback,
                max_cost_pico=own.max_cost_pico,
                gated=own.gated(job["tools"]),
            )
            if stand.choice >= 0 or stand.fallback >= 0 or (wished and job["alias"] is None):
                candidates.append(found)
            else:
                elsewhere[route.name] = None
            if stand.shadow >= 0:
                # Of both its tiers a shadow takes the discounted one, which stands first among the offers.
                shadows.setdefault(stand.shadow, found)
        candidates.sort(key=lambda found: (found.latency_ms, -found.quality, found.route.name, found.route.tier))
        if elsewhere:
            text = f"not among the targets of the alias {name}"
            ruled_out["alias"] = RuledOut(route=", ".join(elsewhere), rule="alias", text=text)
        return Permitted(tuple(candidates), shadows, tuple(ruled_out.values()))


def _behind(name: str, alias: Alias, catalog: Catalog) -> dict[int, _Stand]:
    """Return how the offers behind an alias stand behind it, by their place in the catalog."""

    def first(targets: Any, route: Route) -> int:
        return next((place for place, target in enumerate(targets) if target.matches(route)), -1)

    stands: dict[int, _Stand] = {}
    for place, offer in enumerate(catalog.offers):
        found = [first(targets, offer.route) for targets in (alias.choices, alias.fallbacks, alias.shadows)]
        if max(found) >= 0:
            stands[place] = _Stand(offer.route.model_copy(update={"alias": name}), *found)
    return stands


def _is_wish(wish: str, route: Route) -> bool:
    return wish in (route.model, f"{route.provider}/{route.model}", route.name)


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


def _forbidden(offer: Offer, job: dict[str, Any], sources: list[tuple[str, Restrictions]]) -> tuple[str, str]:
    """Return the first of the sources that rules an offer out: what all of them exclude, one of them excludes."""
    return next(
        (source, why) for source, restrictions in sources if (why := restrictions.excludes(offer, job)) is not None
    )


def _too_late(offer: Offer, limits: Restrictions, sources: list[tuple[str, Restrictions]]) -> tuple[str, str] | None:
    batch, deadline = offer.provider.batch, limits.deadline_ms
    if batch is None or deadline is None or batch.window_hours * _HOUR_MS <= deadline:
        return None
    rule = next(source for source, restrictions in sources if restrictions.deadline_ms == deadline)
    window = counted(batch.window_hours, "hour")
    return rule, f"its batch service may take {window}, and the job has {duration(deadline)}"
