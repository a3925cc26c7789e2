"""A decision in plain English, in full sentences that an auditor can read without knowing Waybill."""

from __future__ import annotations

from schemas.codes import LatencyClass
from schemas.decision import Decision, NoRoute, Route
from schemas.features import Features
from services.policy.wording import counted, dollars, duration, evidence, joined

_MAX_RULED_OUT = 20


def explain(decision: Decision | NoRoute, features: Features) -> str:
    """Return paragraphs saying what the job was, what was decided, under which limits, and why."""
    paragraphs = [_job(features)]
    if isinstance(decision, Decision):
        paragraphs += [_route(decision), _limits(decision)]
    else:
        paragraphs.append(f"No model was allowed to handle this job. {decision.reasons[0].text}")
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


def _route(decision: Decision) -> str:
    text = f"The job was given to {_model(decision.route)}."
    estimate = decision.estimate
    text += (
        f" One attempt is expected to use {counted(estimate.output_tokens, 'output token')} and to cost "
        f"{dollars(estimate.cost_usd)}; it can cost {dollars(estimate.worst_case_usd)} at most."
    )
    if not decision.fallbacks:
        return text + " If that route fails, no other route takes over."
    others = joined([_model(fallback.route) for fallback in decision.fallbacks])
    return text + (
        f" If that route does not answer, limits the rate of calls or is broken, {others} may take over, in this order."
        " A refusal to answer is never taken elsewhere."
    )


def _model(route: Route) -> str:
    behind = f", which is behind the name {route.alias}" if route.alias else ""
    tier = " at the discounted batch price" if route.tier == "batch" else ""
    return (
        f"the model {route.model} (version {route.version}) of the provider {route.provider} "
        f"in the region {route.region}{tier}{behind}"
    )


def _limits(decision: Decision) -> str:
    budgets = decision.budgets
    return (
        f"All attempts together may cost {dollars(budgets.max_cost_usd)}. There may be "
        f"{counted(budgets.max_attempts, 'attempt')}, {counted(budgets.max_output_tokens, 'output token')} in each "
        f"and {counted(budgets.max_tool_calls, 'tool call')}, within {duration(budgets.deadline_ms)} "
        "from receiving the job."
    )


def _safeguards(decision: Decision | NoRoute, features: Features) -> str:
    policy = decision.policy
    sentences = []
    if policy.retention == "zero":
        sentences.append("The job may go only to providers that keep no data.")
    if policy.safety_mode == "strict":
        sentences.append("The strict safety checks apply.")
    if features.tools:
        allowed = f"only {joined(policy.tools_allowed)}" if policy.tools_allowed else "none of them"
        if set(policy.tools_allowed) == set(features.tools):
            allowed = "all of them"
        sentences.append(f"The job asked for the tools {joined(sorted(features.tools))}, and may use {allowed}.")
    if policy.requires_approval_for:
        sentences.append(f"A person has to approve each use of {joined(policy.requires_approval_for)}.")
    if policy.require_citations:
        sentences.append("The answer has to cite its sources.")
    if policy.human_review:
        sentences.append("A person reviews the answer before it is sent.")
    return " ".join(sentences)


def _reasons(decision: Decision | NoRoute) -> str:
    lines = [f"- {reason.text}{f' (rule {reason.rule})' if reason.rule else ''}" for reason in decision.reasons]
    return "\n".join(["The reasons, in full:", *lines])


def _ruled_out(decision: Decision | NoRoute) -> str:
    if not decision.ruled_out:
        return ""
    lines = [f"- {out.route}: {out.text} (rule {out.rule})." for out in decision.ruled_out[:_MAX_RULED_OUT]]
    if (more := len(decision.ruled_out) - _MAX_RULED_OUT) > 0:
        lines.append(f"- {counted(more, 'further route')}, which the record lists.")
    return "\n".join(["These routes could not be taken:", *lines])


def _inputs(decision: Decision | NoRoute) -> str:
    inputs = decision.inputs
    taken = [f"the policy {decision.policy.bundle}", f"the catalog {inputs.catalog}", f"the aliases {inputs.aliases}"]
    if inputs.tenants is not None:
        taken.append(f"the tenants {inputs.tenants}")
    many = {3: "three", 4: "four"}[len(taken)]
    return f"This was decided from {joined(taken)}. The same job and the same {many} always give the same decision."
