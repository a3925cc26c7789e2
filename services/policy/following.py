"""What may follow the first route: fallbacks, a stronger model for an uncertain answer, and copies for comparison.

All of them are candidates that fit, so that each satisfies the policy that the route satisfies; they share the job's
one deadline and one cost budget, which the executor holds them to.
"""

from __future__ import annotations

from typing import Final

from schemas.decision import Route
from services.policy.candidates import Candidate
from services.policy.plan import Plan

MAX_FALLBACKS: Final = 2
ELSEWHERE_WHEN: Final = ("timeout_or_5xx", "rate_limit", "route_broken")
SAME_PROVIDER_WHEN: Final = ("timeout_or_5xx", "rate_limited", "model_gone")
"""Another model does not help where the account is the trouble: its quota is used up, or its key refused."""


def fallbacks(best: Candidate, others: list[Candidate]) -> list[Candidate]:
    """Return the fallbacks: those that the alias names, then the next best elsewhere, then at the same provider.

    `others` are the other candidates that fit, best first.
    """
    chosen: dict[str, Candidate] = {}  # the tiers of one route are one route: what broke at one is broken at the other
    here, provider = best.route.name, best.route.provider
    for other in sorted((other for other in others if other.named >= 0), key=lambda other: other.named):
        if (name := other.route.name) != here:
            chosen.setdefault(name, other)
    for elsewhere in (True, False):
        for other in others:
            if len(chosen) >= MAX_FALLBACKS:
                return list(chosen.values())
            if (other.route.provider != provider) is elsewhere and (name := other.route.name) != here:
                chosen.setdefault(name, other)
    return list(chosen.values())


def when_of(best: Candidate, other: Candidate) -> list[str]:
    """Return after which failures of the chosen route a fallback takes over."""
    if other.when:
        return list(other.when)
    when = ELSEWHERE_WHEN if other.route.provider != best.route.provider else SAME_PROVIDER_WHEN
    return [*when, "too_long"] if other.context_window > best.context_window else list(when)


def escalation(plan: Plan, best: Candidate, others: list[Candidate], tokens: int, budget_pico: int) -> Candidate | None:
    """Return the strongest model above the chosen one, of equals the cheapest, that the money reaches after a try."""
    if plan.escalation is None:
        return None
    left = budget_pico - worst(best, tokens)
    stronger = [other for other in others if other.quality > best.quality and worst(other, tokens) <= left]
    if not stronger:
        return None
    return max(stronger, key=lambda other: other.quality)  # of equals the first, and `others` stand best first


def shadows(plan: Plan, best: Candidate, record: str | None, tokens: int, budget_pico: int) -> list[Route]:
    """Return where copies of a job go: as the alias's shares, policy and the money left by the answer itself allow."""
    if record is None or plan.alias is None or not plan.shadows:
        return []
    name, alias = plan.alias
    left = budget_pico - worst(best, tokens)
    routes: list[Route] = []
    for place in alias.shadowed_by(name, record):
        copy = plan.shadows.get(place)
        if copy is None or copy.route.name == best.route.name or tokens > copy.context_left:
            continue
        if (cost := worst(copy, tokens)) <= left and (copy.max_cost_pico is None or cost <= copy.max_cost_pico):
            left -= cost
            routes.append(copy.route)
    return routes


def worst(candidate: Candidate, tokens: int) -> int:
    """Return the most that one attempt can cost in pico-dollars, by the ceilings that no rule has lowered."""
    line = candidate.line(tokens)
    return tokens * line.worst_per_token + line.fit_output
