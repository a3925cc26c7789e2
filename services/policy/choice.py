"""The choice among a plan's candidates: what fits the job's size and money, then tier, cost, latency and quality."""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.codes import ErrorCode, LatencyClass
from schemas.decision import Decision, Estimate, Fallback, Inputs, NoRoute, Reason, RuledOut
from schemas.features import Features
from services.policy.plan import Candidate, Plan
from services.policy.prices import usd, usd_at_most
from services.policy.wording import dollars

MAX_FALLBACKS: Final = 2


class _Fit(NamedTuple):
    """A candidate that fits; the tuple's order is the order of preference, and `rank` is unique."""

    unwished: bool
    undiscounted: bool
    expected_pico: int
    rank: int
    worst_pico: int
    output_tokens: int
    candidate: Candidate


def choose(plan: Plan, features: Features, inputs: Inputs) -> Decision | NoRoute:
    """Return the decision for a job under its plan; pure and deterministic."""
    ruled_out = list(plan.ruled_out)
    fitting, over_budget = _fitting(plan, features.input_tokens, ruled_out)
    reasons = [
        reason
        if isinstance(reason, Reason)
        else Reason(code=reason[0].code, rule=reason[0].id, text=reason[1].render(features))
        for reason in plan.reasons
    ]
    if not fitting:
        failure = _failure(plan, only_money=over_budget)
        return NoRoute(policy=plan.policy, reasons=[failure, *reasons], ruled_out=ruled_out, inputs=inputs)
    best = min(fitting)
    if plan.wish is not None:
        reasons.append(_on_wish(plan.wish, best, ruled_out))
    reasons.append(_on_choice(plan, best, len(fitting)))
    # Every part is built here from validated parts, and this line is most of the cost of a remembered decision.
    return Decision.model_construct(
        route=best.candidate.route,
        budgets=plan.budgets,
        policy=plan.policy,
        fallbacks=_fallbacks(best, fitting),
        escalation=None,
        reasons=reasons,
        ruled_out=ruled_out,
        estimate=Estimate.model_construct(
            input_tokens=features.input_tokens,
            output_tokens=best.output_tokens,
            cost_usd=usd(best.expected_pico),
            worst_case_usd=usd_at_most(best.worst_pico),
        ),
        inputs=inputs,
    )


def _fitting(plan: Plan, tokens: int, ruled_out: list[RuledOut]) -> tuple[list[_Fit], bool]:
    """Return the candidates that fit, adding the others to `ruled_out`, and whether money kept any of them out."""
    fitting: list[_Fit] = []
    over_budget = False
    too_long = tokens > plan.budgets.max_input_tokens
    prefers_discount = plan.latency_class is LatencyClass.BATCH
    for rank, candidate in enumerate(plan.candidates):
        most = min(plan.budgets.max_output_tokens, candidate.max_output_tokens)
        worst = candidate.price.worst_pico(tokens, most)
        if too_long:
            rule = plan.limited_by["max_input_tokens"]
            text = f"the job has {tokens:,} input tokens, and {plan.budgets.max_input_tokens:,} are allowed"
        elif tokens + most > candidate.context_window:
            rule = "catalog"
            text = (
                f"{tokens:,} input tokens and up to {most:,} output tokens do not fit its context of "
                f"{candidate.context_window:,}"
            )
        elif worst > plan.max_cost_pico:
            over_budget = True
            rule = plan.limited_by["max_cost_usd"]
            text = f"one attempt can cost {dollars(usd_at_most(worst))}, and {dollars(plan.budgets.max_cost_usd)} are allowed"
        else:
            output = min(plan.expected_output_tokens, most)
            undiscounted = prefers_discount and candidate.route.tier != "batch"
            expected = candidate.price.pico(tokens, output)
            fitting.append(_Fit(not candidate.wished, undiscounted, expected, rank, worst, output, candidate))
            continue
        ruled_out.append(RuledOut(route=candidate.label, rule=rule, text=text))
    return fitting, over_budget


def _fallbacks(best: _Fit, fitting: list[_Fit]) -> list[Fallback]:
    if len(fitting) == 1:
        return []
    provider = best.candidate.route.provider
    others = sorted(
        (fit for fit in fitting if fit is not best), key=lambda fit: (fit.candidate.route.provider == provider, fit)
    )
    return [fit.candidate.fallback for fit in others[:MAX_FALLBACKS]]


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


def _on_wish(wish: str, best: _Fit, ruled_out: list[RuledOut]) -> Reason:
    if best.candidate.wished:
        return Reason(code="requested_model_kept", rule="job", text=f"The job asked for the model {wish}.")
    # A wish is told by route name, which starts with the provider: "provider/model@region".
    for out in ruled_out:
        provider_and_model = out.route.partition("@")[0]
        if wish in (provider_and_model.partition("/")[2], provider_and_model, out.route):
            text = f"The job asked for the model {wish}, which was ruled out: {out.text}."
            return Reason(code="requested_model_replaced", rule=out.rule, text=text)
    text = f"The job asked for the model {wish}, which is not in the catalog."
    return Reason(code="requested_model_replaced", rule="catalog", text=text)


def _on_choice(plan: Plan, best: _Fit, eligible: int) -> Reason:
    route = best.candidate.route
    if eligible == 1:
        place = "the only eligible route"
    elif best.candidate.wished:
        place = "the cheapest eligible route with the model asked for"
    elif plan.latency_class is LatencyClass.BATCH and route.tier == "batch":
        place = f"the cheapest of {eligible:,} eligible routes that gives a discount for batches"
    else:
        place = f"the cheapest of {eligible:,} eligible routes"
    return Reason(
        code="chosen", text=f"{route.name} is {place}; it is expected to cost {dollars(usd(best.expected_pico))}."
    )
