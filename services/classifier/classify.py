"""What is in a job: features, findings, data class and risk tier. Pure, and heavy: called in a worker thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.codes import ActionClass, DataClass, RiskTier
from schemas.entries import FindingData, Reasons, SuspicionData
from schemas.job import Job
from services.classifier.contents import Contents, read
from services.detect import (
    RULE_SET_VERSION,
    Labelled,
    OwnRules,
    Situation,
    explained,
    labelled,
    tokens_at_most,
    tool_scope,
)

TRUSTED: Final = frozenset({"trusted", "internal"})
MAX_SUSPICIONS: Final = 100
"""Texts with signs of injection that an entry names, the most suspect ones; the features count them all."""
OWN_RULES_UNUSABLE: Final = "own_rules:OwnRulesError"
# OpenAI's chat format: three tokens around each message, three to prime the answer.
_TOKENS_PER_MESSAGE: Final = 3
_TOKENS_TO_ANSWER: Final = 3


@dataclass(frozen=True, slots=True)
class Classification:
    """What the ``classified`` entry says, and the features that go on to the router.

    ``texts`` are what the ``findings`` of the entry point into, by their number.
    """

    features: dict[str, Any]
    entry: dict[str, Any]
    texts: list[str]
    situation: Situation
    own: OwnRules | None = None
    """The tenant's rules that counted beside the product's."""

    @property
    def findings(self) -> list[FindingData]:
        """What was found, by text and span."""
        found: list[FindingData] = self.entry["findings"]
        return found

    @property
    def detectors_failed(self) -> list[str]:
        """The detectors that raised, and whose answers are the worst."""
        failed: list[str] = self.entry.get("detectors_failed", [])
        return failed

    def explained(self) -> list[str]:
        """Return in words why the labels are what they are."""
        return explained(self.situation)


def classify(job: Job, own: OwnRules | None = None, failed: Sequence[str] = ()) -> Classification:
    """Return what is in a job, by the product's rules and its tenant's own; ``failed`` is what could not be asked."""
    contents = read(job, own)
    failed = [*failed, *contents.failed]
    truncated = contents.truncated or bool(failed)
    counts = Counter([finding.type for finding in contents.analysis.findings])
    tools = own.tools if own else None
    scopes = {tool.function.name: tool_scope(tool.function.name, tools) for tool in job.tools or ()}
    worst = contents.worst
    situation = Situation(
        types=frozenset(counts),
        declared=job.data_class,
        truncated=truncated,
        trust=frozenset([document.trust for document in job.documents or ()]),
        task=job.task,
        domains=frozenset(contents.domains),
        scopes=frozenset(scopes.values()),
        suspected=worst.suspected,
        own_classes=tuple(sorted(own.classes.items())) if own else (),
    )
    made = labelled(situation)
    features = _features(job, contents, made, dict(sorted(counts.items())), scopes)
    entry: dict[str, Any] = {
        "features": features,
        "findings": contents.findings,
        "truncated": truncated,
        "rules": own.version if own else RULE_SET_VERSION,
        "reasons": Reasons(
            data_class=list(made.data_class_by),
            risk_tier=list(made.risk_tier_by),
            action_class=list(made.action_class_by),
        ),
    }
    if suspicions := _suspicions(job, contents):
        entry["suspicions"] = suspicions
    if failed:
        entry["detectors_failed"] = failed
    return Classification(features, entry, contents.texts, situation, own)


def _features(
    job: Job, contents: Contents, made: Labelled, counts: dict[str, int], scopes: dict[str, Any]
) -> dict[str, Any]:
    documents, analysis, worst = job.documents or [], contents.analysis, contents.worst
    sources = [document.trust for document in documents if document.trust not in TRUSTED]
    of_documents = contents.suspicions[contents.documents_from :][: len(documents)]
    texts = contents.documents_from + len(documents)
    tokens = analysis.tokens + _TOKENS_PER_MESSAGE * texts + _TOKENS_TO_ANSWER
    # A plain dict: building the model and taking it apart again costs fifteen times as much; a test compares the two.
    return {
        "tenant": job.tenant,
        "latency_class": job.latency_class,
        "operation": job.operation,
        "task": job.task or contents.task,
        "task_confidence": 1.0 if job.task else round(contents.task_confidence, 4),
        "language": analysis.language,
        "input_tokens": tokens,
        "tokens_exact": not any(failed.startswith("tokens:") for failed in analysis.detectors_failed),
        "tokens_at_most": tokens_at_most(tokens),
        "characters": analysis.characters,
        "messages": len(job.messages or ()),
        "documents": len(documents),
        "untrusted_documents": len(sources),
        "untrusted_sources": sorted(set(sources)),
        "suspected_documents": sum([one.suspected for one in of_documents]),
        "tools": list(scopes),
        "tool_scopes": scopes,
        "structured_output": job.response_format is not None and job.response_format.type != "text",
        "quality": job.quality,
        "user_tier": job.user_tier,
        "alias": job.alias,
        "model": job.model,
        "max_output_tokens": job.caps.max_output_tokens,
        "max_tool_calls": job.caps.max_tool_calls,
        "max_cost_usd": None if job.caps.max_cost_usd is None else format(job.caps.max_cost_usd, "f"),
        "regions": job.constraints.regions,
        "providers": job.constraints.providers,
        "retention": job.constraints.retention,
        "declared_data_class": job.data_class,
        "data_class": DataClass(made.data_class),
        "domains": contents.domains,
        "risk_tier": RiskTier(made.risk_tier),
        "action_class": ActionClass(made.action_class),
        "injection_suspected": worst.suspected,
        "injection_score": worst.score,
        "injection_signals": list(worst.signals),
        "findings": counts,
    }


def _suspicions(job: Job, contents: Contents) -> list[SuspicionData]:
    """Return the texts with any sign of injection, the most suspect first."""
    documents, before = job.documents or [], contents.documents_from
    signs: list[SuspicionData] = []
    for text, one in enumerate(contents.suspicions):
        if one.score:
            document = text - before if before <= text < before + len(documents) else None
            signs.append(
                SuspicionData(
                    text=text,
                    document=document,
                    trust=None if document is None else documents[document].trust,
                    score=one.score,
                    suspected=one.suspected,
                    signals=list(one.signals),
                )
            )
    signs.sort(key=lambda one: -one["score"])
    return signs[:MAX_SUSPICIONS]
