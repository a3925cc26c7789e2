"""The closed vocabularies in words: failures, causes of escalation, and who stands behind a reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from schemas.codes import EscalationCause, FailureClass
from services.policy.wording import either

FAILURES: Final[dict[str, str]] = {
    "timeout_or_5xx": "does not answer or answers with an error of its own",
    "rate_limit": "takes no more calls for now",
    "route_broken": "can no longer be called at all",
    "too_long": "finds the job too long",
    FailureClass.RATE_LIMITED: "limits the rate of calls",
    FailureClass.OVERLOADED: "is overloaded",
    FailureClass.TIMEOUT_UNSENT: "cannot be reached in time",
    FailureClass.TIMEOUT_SENT: "does not answer in time",
    FailureClass.UNAVAILABLE: "is out of service",
    FailureClass.CONTEXT_TOO_LONG: "finds the job too long",
    FailureClass.AUTH: "refuses our key",
    FailureClass.QUOTA_EXHAUSTED: "says that our quota is used up",
    FailureClass.MODEL_GONE: "no longer has the model",
    FailureClass.MALFORMED_ANSWER: "gives an answer that cannot be read",
}
"""What a route does when it fails, as the rest of a sentence that begins with the route."""

CAUSES: Final[dict[str, str]] = {
    EscalationCause.SCHEMA_INVALID: "does not have the structure asked for",
    EscalationCause.LOW_CONFIDENCE: "is not certain of itself",
    EscalationCause.SELF_CHECK_FAILED: "does not stand up to its own check",
    EscalationCause.DISAGREEMENT: "contradicts a second one",
    EscalationCause.WEAK_RETRIEVAL: "rests on sources that hardly fit",
    EscalationCause.CITATIONS_INVALID: "cites what its sources do not say",
}
"""What is the matter with an answer, as the rest of a sentence that begins with the answer."""

_SOURCES: Final[dict[str, str]] = {
    "alias": "by the name that the job goes by",
    "budget": "by what the tenant has left to spend",
    "catalog": "by what the catalog says of it",
    "defaults": "by the limits of its latency class",
    "gate": "by a gate that a person closed",
    "health": "by the state of the provider",
    "job": "by the job itself",
    "routes": "by the limits of single routes",
    "tenant": "by what was agreed with the tenant",
}


def failures_in_words(names: Iterable[str]) -> str:
    """Return what a route does after which another one takes over."""
    return either(dict.fromkeys(FAILURES.get(name, name.replace("_", " ")) for name in names))


def causes_in_words(names: Iterable[str]) -> str:
    """Return what is the matter with an answer for which a stronger model is asked."""
    return either(CAUSES.get(name, name.replace("_", " ")) for name in names)


def source_in_words(rule: str | None) -> str:
    """Return who stands behind a reason, in brackets after a blank; nothing where nobody has to."""
    if rule is None:
        return ""
    return f" ({_SOURCES[rule]})" if rule in _SOURCES else f" (rule {rule})"
