"""The choice among a plan's candidates, and the decision that it makes: pure, deterministic, and with its reasons."""

from __future__ import annotations

from decimal import Decimal

from schemas.codes import ErrorCode, LatencyClass
from schemas.decision import (
    AppliedPolicy,
    Budgets,
    Decision,
    Escalation,
    Estimate,
    Fallback,
    Inputs,
    NoRoute,
    Reason,
    RuledOut,
)
from schemas.features import Features
from services.policy.aliases import Pick
from services.policy.candidates import LAST, Candidate
from services.policy.circumstances import ORDINARY, Circumstances, MoneyLeft
from services.policy.fitting import Fit, closed_in_words, fit
from services.policy.following import escalation, fallbacks, shadows, when_of
from services.policy.plan import Plan
from services.policy.prices import usd, usd_at_most
from services.policy.wording import dollars, joined


def choose(plan: Plan, features: Features, inputs: Inputs, now: Circumstances = ORDINARY) -> Decision | NoRoute:
    """Return the decision for a job under its plan; pure and deterministic."""
    ruled_out = list(plan.ruled_out)
    tokens = features.input_tokens
    pick = _pick(plan, now)
    found = fit(plan, tokens, now, pick, ruled_out)
    reasons = [
        reason
        if isinstance(reason, Reason)
        else Reason(code=reason[0].code, rule=reason[0].id, text=reason[1].render(features))
        for reason in plan.reasons
    ]
    if not found.order:
        failure, waits_for = _failure(plan, found, now.money)
        return NoRoute(
            policy=plan.policy, reasons=[failure, *reasons], ruled_out=ruled_out, inputs=inputs, waits_for=waits_for
        )
    _, expected, place = found.order[0]
    best, others = plan.candidates[place], [plan.candidates[place] for _, _, place in found.order[1:]]
    line = best.line(tokens)
    cost = usd(expected)
    if plan.wish is not None:
        reasons.append(_on_wish(plan.wish, best, ruled_out))
    reasons.append(_on_choice(plan, best, cost, _rivals(found), pick))
    takeovers = fallbacks(best, others)
    stronger = escalation(plan, best, others, tokens, found.budget_pico)
    policy = plan.policy
    if plan.gates_by_route:
        policy = _with_risk_budgets(policy, [best, *takeovers, *([stronger] if stronger else [])], reasons)
    costs = [cost for _, cost, _ in found.order]
    return Decision(
        route=best.route,
        budgets=_budgets(plan, found, now.money, reasons),
        policy=policy,
        fallbacks=[Fallback(route=other.route, when=when_of(best, other)) for other in takeovers],
        escalation=None if stronger is None else _escalation(plan, stronger),
        shadows=shadows(plan, best, now.record, tokens, found.budget_pico),
        reasons=reasons,
        ruled_out=ruled_out,
        estimate=Estimate(
            input_tokens=tokens,
            output_tokens=best.expected_output_tokens,
            cost_usd=cost,
            dearest_usd=usd(max(costs)),
            cheapest_usd=usd(min(costs)),
            worst_case_usd=usd_at_most(tokens * line.worst_per_token + line.worst_output),
        ),
        inputs=inputs,
    )


def _escalation(plan: Plan, to: Candidate) -> Escalation:
    assert plan.escalation is not None, "a stronger model was looked for"
    return Escalation(on=[str(cause) for cause in plan.escalation.on], to=to.route, max=plan.escalation.max)


def _pick(plan: Plan, now: Circumstances) -> Pick | None:
    if now.record is None or plan.alias is None or not plan.alias[1].shares:
        return None
    return plan.alias[1].pick(plan.alias[0], now.record)


def _budgets(plan: Plan, found: Fit, money: MoneyLeft | None, reasons: list[Reason]) -> Budgets:
    if money is None or found.budget_pico == plan.max_cost_pico:
        return plan.budgets
    left = usd(found.budget_pico)
    text = f"All attempts together may cost {dollars(left)}, which is what the tenant has left in {money.window}."
    reasons.append(Reason(code="budget_nearly_spent", rule="budget", text=text))
    return plan.budgets.model_copy(update={"max_cost_usd": left})


def _with_risk_budgets(policy: AppliedPolicy, used: list[Candidate], reasons: list[Reason]) -> AppliedPolicy:
    """Return the policy with what the risk budgets of the routes themselves ask for: a job may end on any of them."""
    gated = frozenset().union(*[candidate.gated for candidate in used if candidate.gated])
    more = sorted(gated & (set(policy.tools_allowed) - set(policy.requires_approval_for)))
    if not more:
        return policy
    text = f"On the routes that this job may take, the tools {joined(more)} are not called without anybody's word."
    reasons.append(Reason(code="route_risk_budget", rule="routes", text=text))
    return policy.model_copy(
        update={
            "requires_approval_for": sorted([*policy.requires_approval_for, *more]),
            "confirmation_suffices_for": sorted([*policy.confirmation_suffices_for, *more]),
        }
    )


def _failure(plan: Plan, found: Fit, money: MoneyLeft | None) -> tuple[Reason, str | None]:
    """Return the first reason of a decision without a route, and what the job may wait for."""
    if plan.unknown_alias is not None:
        return Reason(code=ErrorCode.NO_ROUTE, rule="alias", text=f"There is no alias {plan.unknown_alias!r}."), None
    if "closed" in found.kept_out:
        gated = all(closed.by == "gate" for closed in found.closed)
        what = joined(dict.fromkeys(closed_in_words(closed) for closed in found.closed))
        text = f"No route that this job may take can be called now: {what}."
        rule = "gate" if gated else "health"
        return Reason(code=ErrorCode.NO_ROUTE, rule=rule, text=text), rule if gated else "outage"
    if "window" in found.kept_out and money is not None:
        text = f"What the tenant has left in {money.window} does not reach for any route that this job may take."
        waits = "budget" if plan.holds_over_budget else None
        return Reason(code=ErrorCode.BUDGET_EXCEEDED, rule="budget", text=text), waits
    if "money" in found.kept_out:
        rule = plan.limited_by["max_cost_usd"]
        allowed = dollars(plan.budgets.max_cost_usd)
        text = f"No permitted route can answer for the {allowed} that this job may cost."
        return Reason(code=ErrorCode.BUDGET_EXCEEDED, rule=rule, text=text), None
    return Reason(code=ErrorCode.NO_ROUTE, text="Every route is ruled out."), None


def _on_wish(wish: str, best: Candidate, ruled_out: list[RuledOut]) -> Reason:
    if best.wished:
        return Reason(code="requested_model_kept", rule="job", text=f"The job asked for the model {wish}.")
    # A wish is told by route name, which starts with the provider: "provider/model@region".
    for out in ruled_out:
        if any(_is_called(wish, route) for route in out.route.split(", ")):
            text = f"The job asked for the model {wish}, which was ruled out: {out.text}."
            return Reason(code="requested_model_replaced", rule=out.rule, text=text)
    text = f"The job asked for the model {wish}, which is not in the catalog."
    return Reason(code="requested_model_replaced", rule="catalog", text=text)


def _is_called(wish: str, route: str) -> bool:
    provider_and_model = route.partition("@")[0]
    return wish in (provider_and_model.partition("/")[2], provider_and_model, route)


def _rivals(found: Fit) -> int:
    """Return how many routes the first one was chosen among: those that only ever take over are none of them."""
    if found.order[-1][0] < LAST or found.order[0][0] >= LAST:
        return len(found.order)
    return sum(preference < LAST for preference, _, _ in found.order)


def _on_choice(plan: Plan, best: Candidate, cost: Decimal, eligible: int, pick: Pick | None) -> Reason:
    route = best.route
    if eligible == 1:
        place = "the only eligible route"
    elif best.wished:
        place = "the cheapest eligible route with the model asked for"
    elif pick is not None and best.choice == pick.choice:
        place = f"where this job goes: {pick.words}"
    elif plan.latency_class is LatencyClass.BATCH and route.tier == "batch":
        place = f"the cheapest of {eligible:,} eligible routes that gives a discount for batches"
    else:
        place = f"the cheapest of {eligible:,} eligible routes"
    text = f"{route.name} is {place}; it is expected to cost {dollars(cost)}."
    return Reason(code="chosen", rule=None, text=text)
