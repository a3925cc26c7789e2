"""What is in a job: features, findings, data class and risk tier. Pure, and heavy: called in a worker thread."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from schemas.codes import DataClass, RiskTier
from schemas.entries import FindingData
from schemas.job import Job
from services.detect import RULE_SET_VERSION, Analysis, Finding, analyse, data_class

TRUSTED: Final = frozenset({"trusted", "internal"})
_BETWEEN: Final = "\n\n"
# OpenAI's chat format: three tokens around each message, three to prime the answer.
_TOKENS_PER_MESSAGE: Final = 3
_TOKENS_TO_ANSWER: Final = 3


@dataclass(frozen=True, slots=True)
class Classification:
    """What the ``classified`` entry says, and the features that go on to the router."""

    features: dict[str, Any]
    entry: dict[str, Any]


def classify(job: Job) -> Classification:
    """Return what is in a job."""
    texts = job.texts()
    analysis = analyse(_BETWEEN.join(texts))
    features = _features(job, analysis, len(texts))
    return Classification(
        features=features,
        entry={
            "features": features,
            "findings": _located(analysis.findings, texts),
            "truncated": analysis.truncated,
            "rules": RULE_SET_VERSION,
        },
    )


def _features(job: Job, analysis: Analysis, texts: int) -> dict[str, Any]:
    counts = Counter(finding.type for finding in analysis.findings)
    detected = DataClass(data_class(tuple(counts), job.data_class, analysis.truncated))
    documents = job.documents or []
    untrusted = sum(document.trust not in TRUSTED for document in documents)
    tools = [tool.function.name for tool in job.tools or ()]
    # A plain dict: building the model and taking it apart again costs fifteen times as much; a test compares the two.
    return {
        "tenant": job.tenant,
        "latency_class": job.latency_class,
        "operation": job.operation,
        "task": job.task or analysis.task,
        "task_confidence": 1.0 if job.task else round(analysis.task_confidence, 4),
        "language": analysis.language,
        "input_tokens": analysis.tokens + _TOKENS_PER_MESSAGE * texts + _TOKENS_TO_ANSWER,
        "characters": analysis.characters,
        "messages": len(job.messages or ()),
        "documents": len(documents),
        "untrusted_documents": untrusted,
        "tools": tools,
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
        "data_class": detected,
        "domains": list(analysis.domains),
        "risk_tier": _risk(detected, analysis, untrusted=untrusted, tools=len(tools)),
        "injection_suspected": analysis.injection_suspected,
        "findings": dict(sorted(counts.items())),
    }


def _risk(detected: DataClass, analysis: Analysis, *, untrusted: int, tools: int) -> RiskTier:
    if analysis.domains or detected is DataClass.REGULATED or (tools and (untrusted or analysis.injection_suspected)):
        return RiskTier.HIGH
    if detected is DataClass.CONFIDENTIAL or tools or untrusted or analysis.injection_suspected:
        return RiskTier.MEDIUM
    return RiskTier.LOW


def _located(findings: Sequence[Finding], texts: Sequence[str]) -> list[FindingData]:
    """Give each finding the number of its text and its span within it."""
    if not findings:
        return []
    starts = [0, *accumulate(len(text) + len(_BETWEEN) for text in texts)][: len(texts)]
    located: list[FindingData] = []
    for finding in findings:
        text = bisect_right(starts, finding.start) - 1
        located.append(
            FindingData(
                type=finding.type,
                text=text,
                start=finding.start - starts[text],
                end=finding.end - starts[text],
                confidence=finding.confidence,
                detector=finding.detector,
            )
        )
    return located
