"""Which routes a job is permitted to take, and for every other one the first thing that rules it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from schemas.codes import LatencyClass
from schemas.decision import Fallback, Route, RuledOut
from services.policy.aliases import Alias, Aliases
from services.policy.catalog import Catalog, Offer
from services.policy.restrictions import Restrictions

FALLBACK_WHEN: Final = ["timeout_or_5xx", "rate_limit", "route_broken"]


class Line(NamedTuple):
    """What a call costs in pico-dollars as a line over its input tokens, for calls with more than `above` of them."""

    above: int
    expected_per_token: int
    expected_output: int
    worst_per_token: int
    worst_output: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A permitted route, ready to be put into a decision; `preference` comes before cost, the lower the better."""

    route: Route
    fallback: Fallback
    lines: tuple[Line, ...]
    context_left: int
    max_output_tokens: int
    expected_output_tokens: int
    latency_ms: int
    quality: float
    preference: int
    wished: bool

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


class CandidateFinder:
    """Filters the catalog's offers for jobs, given as their attributes in plain values."""

    def __init__(self, catalog: Catalog, aliases: Aliases) -> None:
        """Take the inputs."""
        self._catalog = catalog
        self._default = aliases.default
        # Fallbacks hold their route: one object per alias and offer serves all plans.
        self._unnamed = [Fallback(route=offer.route, when=FALLBACK_WHEN) for offer in catalog.offers]
        self._behind = {name: _behind(name, alias, catalog) for name, alias in aliases.aliases.items()}

    def permitted(
        self, job: dict[str, Any], limits: Restrictions, sources: list[tuple[str, Restrictions]]
    ) -> tuple[tuple[Candidate, ...], tuple[RuledOut, ...], str | None]:
        """Return the permitted candidates in the order that breaks ties, the routes ruled out, and an unknown alias.

        `limits` is the meet of the restrictions of `sources`, which say whose each of them is.
        """
        name = job["alias"] or self._default
        if (behind := self._behind.get(name)) is None:
            return (), (), name
        candidates: list[Candidate] = []
        ruled_out: dict[str, RuledOut] = {}
        elsewhere: list[str] = []
        takes_batch = job["latency_class"] == LatencyClass.BATCH
        for place, offer in enumerate(self._catalog.offers):
            route = offer.route
            if route.tier == "batch" and not takes_batch:
                continue
            wished = _is_wish(job["model"], route)
            # A job that names no alias may wish for any model that policy permits: the default is no order of its own.
            if place not in behind and not (wished and job["alias"] is None):
                # Told in one line: a large catalog would else be repeated in every decision.
                elsewhere += [route.name] * (route.name not in elsewhere)
                continue
            why = _incapable(offer, job) or _forbidden(offer, job["task"], limits, sources)
            if why is not None:
                # A route has the same reasons at both its tiers, and is told once.
                ruled_out.setdefault(route.name, RuledOut(route=route.name, rule=why[0], text=why[1]))
                continue
            candidates.append(
                self._candidate(offer, job, limits, behind.get(place, self._unnamed[place]), wished=wished)
            )
        candidates.sort(key=lambda found: (found.latency_ms, -found.quality, found.route.name, found.route.tier))
        if elsewhere:
            text = f"not among the targets of the alias {name}"
            ruled_out["alias"] = RuledOut(route=", ".join(elsewhere), rule="alias", text=text)
        return tuple(candidates), tuple(ruled_out.values()), None

    def _candidate(
        self, offer: Offer, job: dict[str, Any], limits: Restrictions, fallback: Fallback, *, wished: bool
    ) -> Candidate:
        ceiling = offer.model.max_output_tokens
        most = ceiling if limits.max_output_tokens is None else min(limits.max_output_tokens, ceiling)
        expected = min(self._catalog.expected_output(job["task"]), most)
        undiscounted = job["latency_class"] == LatencyClass.BATCH and offer.route.tier != "batch"
        return Candidate(
            route=fallback.route,
            fallback=fallback,
            lines=tuple(
                Line(band.above, band.input, expected * band.output, band.dearest_input, most * band.output)
                for band in offer.price.bands
            ),
            context_left=offer.model.context_window - most,
            max_output_tokens=most,
            expected_output_tokens=expected,
            latency_ms=offer.model.latency_ms,
            quality=offer.model.quality_for(job["task"]),
            preference=2 * (not wished) + undiscounted,
            wished=wished,
        )


def _behind(name: str, alias: Alias, catalog: Catalog) -> dict[int, Fallback]:
    """Return the offers behind an alias by their place in the catalog."""
    return {
        place: Fallback(route=offer.route.model_copy(update={"alias": name}), when=FALLBACK_WHEN)
        for place, offer in enumerate(catalog.offers)
        if alias.matches(offer.route)
    }


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
