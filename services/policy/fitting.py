"""What fits a job's size and money among the routes permitted to it, in the order of choice; and why the rest does not.

The order is: a model that was wished for, then the target that an alias's shares give the job to, then a discount for
batches, then the cost expected, then the plan's own order (latency, quality, name).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from schemas.decision import RuledOut
from services.policy.aliases import Pick
from services.policy.candidates import UNPICKED, Candidate
from services.policy.circumstances import Circumstances, Closed
from services.policy.plan import Plan
from services.policy.prices import pico, usd_at_most
from services.policy.wording import dollars

Kept = Literal["size", "money", "window", "closed"]
"""What keeps a route out: the size, the money of this job, the money left in the tenant's window, a gate or outage."""


Place = tuple[int, int, int]
"""A candidate that fits: its preference, its expected cost in pico-dollars, and its place among the candidates."""


class Fit(NamedTuple):
    """The candidates that fit, best first; what kept the others out; and the money that decided."""

    order: list[Place]
    kept_out: set[Kept]
    closed: list[Closed]
    budget_pico: int
    """What all attempts of the job together may cost, in pico-dollars."""


def fit(plan: Plan, tokens: int, now: Circumstances, pick: Pick | None, ruled_out: list[RuledOut]) -> Fit:
    """Return what fits; adds the routes that do not, with the reason, to `ruled_out`."""
    budget = plan.max_cost_pico
    if now.money is not None:
        budget = min(budget, pico(now.money.usd))
    if (
        plan.bounds is not None
        and pick is None
        and not now.health.closed
        and tokens <= plan.budgets.max_input_tokens
        and plan.bounds.all_fit(tokens, budget)
    ):
        order = [(preference, tokens * slope + base, at) for preference, slope, base, at in plan.bounds.lines]
        order.sort()
        return Fit(order, set(), [], budget)
    found = Fit([], set(), [], budget)
    for at, candidate in enumerate(plan.candidates):
        line = candidate.line(tokens)
        worst = tokens * line.worst_per_token + line.fit_output
        why = _kept_out(plan, candidate, tokens, worst, budget, now, found)
        if why is None:
            unpicked = UNPICKED if pick is not None and candidate.choice != pick.choice else 0
            cost = tokens * line.expected_per_token + line.expected_output
            found.order.append((candidate.preference + unpicked, cost, at))
        else:
            ruled_out.append(RuledOut(route=candidate.label, rule=why[0], text=why[1]))
    found.order.sort()
    return found


def _kept_out(
    plan: Plan,
    candidate: Candidate,
    tokens: int,
    worst: int,
    budget: int,
    now: Circumstances,
    found: Fit,
) -> tuple[str, str] | None:
    """Return the rule that keeps a candidate out and why in words, and note in `found` what kind of thing it is."""
    if tokens > plan.budgets.max_input_tokens:
        found.kept_out.add("size")
        most = plan.budgets.max_input_tokens
        return plan.limited_by["max_input_tokens"], f"the job has {tokens:,} input tokens, and {most:,} are allowed"
    if tokens > candidate.context_left:
        found.kept_out.add("size")
        return "catalog", (
            f"{tokens:,} input tokens and up to {candidate.fit_output_tokens:,} output tokens do not fit its context "
            f"of {candidate.context_window:,}"
        )
    if worst > plan.max_cost_pico:
        found.kept_out.add("money")
        allowed = dollars(plan.budgets.max_cost_usd)
        return plan.limited_by["max_cost_usd"], f"{_can_cost(worst)}, and {allowed} are allowed"
    if candidate.max_cost_pico is not None and worst > candidate.max_cost_pico:
        found.kept_out.add("money")
        allowed = dollars(usd_at_most(candidate.max_cost_pico))
        return "routes", f"{_can_cost(worst)}, and {allowed} are allowed on this route"
    if worst > budget:
        assert now.money is not None, "the money of the job itself was looked at before"
        found.kept_out.add("window")
        left = dollars(usd_at_most(max(budget, 0)))
        return "budget", f"{_can_cost(worst)}, and the tenant has {left} left in {now.money.window}"
    if now.health.closed and (closed := now.health.closes(candidate.route)) is not None:
        found.kept_out.add("closed")
        found.closed.append(closed)
        return ("gate" if closed.by == "gate" else "health"), closed_in_words(closed)
    return None


def _can_cost(worst: int) -> str:
    return f"one attempt can cost {dollars(usd_at_most(worst))}"


def closed_in_words(closed: Closed) -> str:
    """Return what a gate or an outage keeps from being called."""
    what = "everything" if closed.what == "all" else closed.what
    told = f"{what} was closed by a person" if closed.by == "gate" else f"{what} is out of service"
    return f"{told}: {closed.why}" if closed.why else told
