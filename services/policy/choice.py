"""The choice among a plan's candidates: what fits the job's size and money, then tier, cost, latency and quality."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from schemas.codes import ErrorCode, LatencyClass
from schemas.decision import Decision, Estimate, Fallback, Inputs, NoRoute, Reason, RuledOut
from schemas.features import Features
from services.policy.candidates import Candidate
from services.policy.plan import Plan
from services.policy.prices import usd, usd_at_most
from services.policy.wording import dollars

MAX_FALLBACKS: Final = 2


_Fit = tuple[int, int, int]
"""Preference, expected cost in pico-dollars, and place among the plan's candidates: in the order of choice."""


def choose(plan: Plan, features: Features, inputs: Inputs) -> Decision | NoRoute:
    """Return the decision for a job under its plan; pure and deterministic."""
    ruled_out = list(plan.ruled_out)
    tokens = features.input_tokens
    fitting, over_budget = _fitting(plan, tokens, ruled_out)
    reasons = [
        reason
        if isinstance(reason, Reason)
        else Reason(code=reason[0].code, rule=reason[0].id, text=reason[1].render(features))
        for reason in plan.reasons
    ]
    if not fitting:
        failure = _failure(plan, only_money=over_budget)
        return NoRoute(policy=plan.policy, reasons=[failure, *reasons], ruled_out=ruled_out, inputs=inputs)
    _, expected_pico, place = fitting[0]
    best = plan.candidates[place]
    line = best.line(tokens)
    cost = usd(expected_pico)
    if plan.wish is not None:
        reasons.append(_on_wish(plan.wish, best, ruled_out))
    reasons.append(_on_choice(plan, best, cost, len(fitting)))
    # Built from parts that were validated already: validating them again would double the cost of a remembered plan.
    return Decision.model_construct(
        route=best.route,
        budgets=plan.budgets,
        policy=plan.policy,
        fallbacks=_fallbacks(best, [plan.candidates[place] for _, _, place in fitting[1:]]),
        escalation=None,
        reasons=reasons,
        ruled_out=ruled_out,
        estimate=Estimate.model_construct(
            input_tokens=tokens,
            output_tokens=best.expected_output_tokens,
            cost_usd=cost,
            dearest_usd=usd(max(expected for _, expected, _ in fitting)),
            cheapest_usd=usd(min(expected for _, expected, _ in fitting)),
            worst_case_usd=usd_at_most(tokens * line.worst_per_token + line.worst_output),
        ),
        inputs=inputs,
    )


def _fitting(plan: Plan, tokens: int, ruled_out: list[RuledOut]) -> tuple[list[_Fit], bool]:
    """Return the candidates that fit, best first, and whether money kept any out; adds the others to `ruled_out`."""
    fitting: list[_Fit] = []
    over_budget = False
    too_long = tokens > plan.budgets.max_input_tokens
    budget = plan.max_cost_pico
    for place, candidate in enumerate(plan.candidates):
        line = candidate.lines[0] if len(candidate.lines) == 1 else candidate.line(tokens)
        worst = tokens * line.worst_per_token + line.worst_output
        if not too_long and tokens <= candidate.context_left and worst <= budget:
            fitting.append((candidate.preference, tokens * line.expected_per_token + line.expected_output, place))
            continue
        if too_long:
            rule = plan.limited_by["max_input_tokens"]
            text = f"the job has {tokens:,} input tokens, and {plan.budgets.max_input_tokens:,} are allowed"
        elif tokens > candidate.context_left:
            most = candidate.max_output_tokens
            rule = "catalog"
            text = (
                f"{tokens:,} input tokens and up to {most:,} output tokens do not fit its context of "
                f"{candidate.context_left + most:,}"
            )
        else:
            over_budget = True
            rule = plan.limited_by["max_cost_usd"]
            allowed = dollars(plan.budgets.max_cost_usd)
            text = f"one attempt can cost {dollars(usd_at_most(worst))}, and {allowed} are allowed"
        ruled_out.append(RuledOut(route=candidate.label, rule=rule, text=text))
    fitting.sort()
    return fitting, over_budget


def _fallbacks(best: Candidate, others: list[Candidate]) -> list[Fallback]:
    elsewhere = [other for other in others if other.route.provider != best.route.provider]
    if len(elsewhere) < MAX_FALLBACKS:
        elsewhere += [other for other in others if other.route.provider == best.route.provider]
    return [other.fallback for other in elsewhere[:MAX_FALLBACKS]]


def _failure(plan: Plan, *, only_money: bool) -> Reason:
    if plan.unknown_alias is not None:
        return Reason(code=ErrorCode.NO_ROUTE, rule="alias", text=f"There is no alias {plan.unknown_alias!r}.")
    if only_money:
        return Reason(
            code=ErrorCode.BUDGET_EXCEEDED,
            rule=plan.limited_by["max_cost_usd"],
            text=f"No permitted route can answer for the {dollars(plan.budgets.max_cost_usd)} that this job may cost.",
        )
    return Reason(code=ErrorCode.NO_ROUTE, text="Every route is ruled out.")


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


def _on_choice(plan: Plan, best: Candidate, cost: Decimal, eligible: int) -> Reason:
    route = best.route
    if eligible == 1:
        place = "the only eligible route"
    elif best.wished:
        place = "the cheapest eligible route with the model asked for"
    elif plan.latency_class is LatencyClass.BATCH and route.tier == "batch":
        place = f"the cheapest of {eligible:,} eligible routes that gives a discount for batches"
    else:
        place = f"the cheapest of {eligible:,} eligible routes"
    return Reason(code="chosen", text=f"{route.name} is {place}; it is expected to cost {dollars(cost)}.")
