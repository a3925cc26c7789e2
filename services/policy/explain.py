"""A decision in plain English, in full sentences that an auditor can read without knowing Waybill."""

from __future__ import annotations

from itertools import groupby

from schemas.codes import LatencyClass, Operation
from schemas.decision import Decision, Fallback, NoRoute, Route
from schemas.features import Features
from services.policy.vocabulary import causes_in_words, failures_in_words, source_in_words
from services.policy.wording import counted, dollars, duration, evidence, joined, times

_MAX_RULED_OUT = 20
_DIGITS = 12
"""Of a digest are told: enough to find the version, few enough to read aloud."""


def explain(decision: Decision | NoRoute, features: Features) -> str:
    """Return paragraphs saying what the job was, what was decided, under which limits, and why."""
    paragraphs = [_job(features)]
    if isinstance(decision, Decision):
        paragraphs += [_route(decision), _after(decision, features), _limits(decision, features)]
    else:
        paragraphs.append(_nowhere(decision))
    paragraphs += [_safeguards(decision, features), _reasons(decision), _ruled_out(decision), _inputs(decision)]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def _job(features: Features) -> str:
    what = {"chat": "to answer messages", "embed": "to embed texts", "rerank": "to rank documents"}[features.operation]
    pace = {
        LatencyClass.BACKGROUND: "Its answer could wait.",
        LatencyClass.BATCH: "Its answer could wait for the discounted batch service of a provider.",
    }[features.latency_class]
    text = (
        f"The tenant {features.tenant} sent a job {what}. The task was taken to be {features.task}, in the language "
        f"{features.language}, with {counted(features.input_tokens, 'input token')}. {pace} "
        f"Its data was classified as {features.data_class}, because {_because(features)}. "
        f"The harm that a wrong answer could do was rated as {features.risk_tier}."
    )
    if features.injection_suspected:
        text += " The input may hold instructions that somebody else planted."
    if features.untrusted_documents:
        documents = counted(features.untrusted_documents, "document")
        text += f" It came with {documents} from sources that are not trusted."
    return text


def _because(features: Features) -> str:
    said = evidence(features)
    return f"it holds {said}" if any(features.findings.values()) else said


def _nowhere(decision: NoRoute) -> str:
    first = decision.reasons[0].text
    match decision.waits_for:
        case "gate":
            return f"The job waits. {first} It goes on when the gate is opened, or ends at its deadline."
        case "outage":
            return f"The job waits. {first} It goes on when a route can be called again, or ends at its deadline."
        case "budget":
            return f"The job waits. {first} It goes on when there is money again, or ends at its deadline."
        case _:
            return f"No model was allowed to handle this job. {first}"


def _route(decision: Decision) -> str:
    estimate = decision.estimate
    return (
        f"The job was given to {_model(decision.route)}. One attempt is expected to use "
        f"{counted(estimate.output_tokens, 'output token')} and to cost {dollars(estimate.cost_usd)}; it can cost "
        f"{dollars(estimate.worst_case_usd)} at most."
    )


def _model(route: Route) -> str:
    behind = f", which is behind the name {route.alias}" if route.alias else ""
    tier = " at the discounted batch price" if route.tier == "batch" else ""
    return f"{_bare(route)}{tier}{behind}"


def _bare(route: Route) -> str:
    where = f"of the provider {route.provider} in the region {route.region}"
    return f"the model {route.model} (version {route.version}) {where}"


def _after(decision: Decision, features: Features) -> str:
    """Say what may follow the first route: other routes, a stronger model, copies."""
    sentences = []
    if not decision.fallbacks:
        sentences.append("If that route fails, no other route takes over.")
    for when, group in groupby(decision.fallbacks, key=_when):
        others = [_bare(fallback.route) for fallback in group]
        order = ", in this order" if len(others) > 1 else ""
        sentences.append(f"If that route {failures_in_words(when)}, {joined(others)} may take over{order}.")
    if features.operation == Operation.CHAT:
        sentences.append("A refusal to answer is never taken elsewhere.")
    if (stronger := decision.escalation) is not None:
        sentences.append(
            f"If the answer {causes_in_words(stronger.on)}, {_bare(stronger.to)}, which is stronger, may be asked, "
            f"{times(stronger.max)} at most."
        )
    if decision.shadows:
        sentences.append(
            f"A copy of the job goes to {joined(_bare(route) for route in decision.shadows)}; what comes back is only "
            "compared, and never sent as the answer."
        )
    return " ".join(sentences)


def _when(fallback: Fallback) -> tuple[str, ...]:
    return tuple(fallback.when)


def _limits(decision: Decision, features: Features) -> str:
    budgets = decision.budgets
    parts = [counted(budgets.max_attempts, "attempt")]
    if features.operation == Operation.CHAT:
        parts.append(f"{counted(budgets.max_output_tokens, 'output token')} in each")
    if decision.policy.tools_allowed:
        parts.append(counted(budgets.max_tool_calls, "tool call"))
    text = (
        f"All attempts together may cost {dollars(budgets.max_cost_usd)}. There may be {joined(parts)}, within "
        f"{duration(budgets.deadline_ms)} from receiving the job."
    )
    if budgets.max_continuations:
        text += f" An answer that this cuts off may be continued {times(budgets.max_continuations)}."
    return text


def _safeguards(decision: Decision | NoRoute, features: Features) -> str:
    policy = decision.policy
    sentences = []
    if policy.retention == "zero":
        sentences.append("The job may go only to providers that keep no data.")
    if policy.logging == "strict":
        sentences.append("Providers are asked to keep no log of it.")
    if policy.safety_mode == "strict":
        sentences.append("The strict safety checks apply.")
    if policy.prompt_layout == "isolated":
        sentences.append("Its documents are shown to the model apart from the instructions, as text and not as orders.")
    if features.tools:
        allowed = f"only {joined(policy.tools_allowed)}" if policy.tools_allowed else "none of them"
        if set(policy.tools_allowed) == set(features.tools):
            allowed = "all of them"
        sentences.append(f"The job asked for the tools {joined(sorted(features.tools))}, and may use {allowed}.")
    if policy.redact:
        what = joined(kind.replace("_", " ") for kind in policy.redact)
        sentences.append(
            f"What is found of these kinds is shown to the model as placeholders only, and put back into the answer: "
            f"{what}."
        )
    if policy.tools_sandboxed:
        sentences.append(f"The tools {joined(policy.tools_sandboxed)} run in a sandbox only.")
    confirmed = policy.confirmation_suffices_for
    if by_person := [tool for tool in policy.requires_approval_for if tool not in confirmed]:
        sentences.append(f"A person has to approve each use of {joined(by_person)}.")
    if confirmed:
        sentences.append(
            f"Each use of {joined(confirmed)} needs a person's approval or a confirmation that the sender has signed."
        )
    if policy.require_citations:
        sentences.append("The answer has to cite its sources.")
    if policy.human_review:
        sentences.append("A person reviews the answer before it is sent.")
    return " ".join(sentences)


def _reasons(decision: Decision | NoRoute) -> str:
    lines = [f"- {reason.text}{source_in_words(reason.rule)}" for reason in decision.reasons]
    return "\n".join(["The reasons, in full:", *lines])


def _ruled_out(decision: Decision | NoRoute) -> str:
    if not decision.ruled_out:
        return ""
    lines = [f"- {out.route}: {out.text}{source_in_words(out.rule)}." for out in decision.ruled_out[:_MAX_RULED_OUT]]
    if (more := len(decision.ruled_out) - _MAX_RULED_OUT) > 0:
        lines.append(f"- {counted(more, 'further route')}, which the record lists.")
    return "\n".join(["These routes could not be taken:", *lines])


def _inputs(decision: Decision | NoRoute) -> str:
    inputs = decision.inputs
    taken = [
        f"the policy {_digest(decision.policy.bundle)}",
        f"the catalog {_digest(inputs.catalog)}",
        f"the aliases {_digest(inputs.aliases)}",
    ]
    if inputs.tenants is not None:
        taken.append(f"the tenants {inputs.tenants}")
    return (
        f"This was decided from {joined(taken)}, each named by the beginning of its digest, which the record has in "
        "full. From the same versions, the same job gets the same decision again."
    )


def _digest(full: str) -> str:
    return full.removeprefix("sha256:")[:_DIGITS]
