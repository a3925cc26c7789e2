"""The closed vocabularies of Waybill: statuses, error codes, failure classes, kinds of entries."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class LatencyClass(StrEnum):
    """How long a job may wait: `background` is slower and cheaper, `batch` takes the discounted tiers."""

    BACKGROUND = "background"
    BATCH = "batch"


class Operation(StrEnum):
    """What a job asks of a model."""

    CHAT = "chat"
    EMBED = "embed"
    RERANK = "rerank"


class DataClass(StrEnum):
    """How sensitive the data of a job is, from least to most; a declared class can only be raised."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    REGULATED = "regulated"


class RiskTier(StrEnum):
    """How much harm a wrong answer to a job could do."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class ToolScope(StrEnum):
    """What a tool does, as far as its name tells; from what needs nobody's care to what needs most of it."""

    READ = "read"
    WRITE = "write"
    EXECUTE = "execute"
    HUMAN_GATE = "human_gate"


class ActionClass(StrEnum):
    """How what a job may set in motion has to be held, from least to most care.

    Only looked up · changes something · runs nowhere but in a sandbox · needs a person for each use, always.
    """

    READ_ONLY = "read_only"
    WRITE = "write"
    SANDBOX_ONLY = "sandbox_only"
    HUMAN_GATE = "human_gate"


class Status(StrEnum):
    """How a record ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class ErrorCode(StrEnum):
    """Why a job did not succeed; the message that goes with each is fixed, in :data:`ERROR_MESSAGES`."""

    INVALID_MESSAGE = "invalid_message"
    UNKNOWN_FIELD = "unknown_field"
    UNSUPPORTED_SCHEMA_VERSION = "unsupported_schema_version"
    UNSUPPORTED_CONTENT = "unsupported_content"
    LATENCY_CLASS_REFUSED = "latency_class_refused"
    TOO_LARGE = "too_large"
    TENANT_MISMATCH = "tenant_mismatch"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    NO_ROUTE = "no_route"
    BUDGET_EXCEEDED = "budget_exceeded"
    APPROVAL_DENIED = "approval_denied"
    REVIEW_REJECTED = "review_rejected"
    REDACTION_FAILED = "redaction_failed"
    VALIDATION_FAILED = "validation_failed"
    NEEDS_CLARIFICATION = "needs_clarification"
    MODEL_REFUSED = "model_refused"
    PROVIDER_FAILED = "provider_failed"
    IN_DOUBT = "in_doubt"
    DEADLINE_PASSED = "deadline_passed"
    CANCELLED = "cancelled"
    CONTENT_ERASED = "content_erased"
    INTERNAL = "internal"


ERROR_MESSAGES: Final[dict[ErrorCode, str]] = {
    ErrorCode.INVALID_MESSAGE: "The message does not match the job schema.",
    ErrorCode.UNKNOWN_FIELD: "The job has a field that its schema does not know.",
    ErrorCode.UNSUPPORTED_SCHEMA_VERSION: "This schema_version is not supported.",
    ErrorCode.UNSUPPORTED_CONTENT: "Only text and tool messages are supported.",
    ErrorCode.LATENCY_CLASS_REFUSED: "Waybill runs background and batch jobs; interactive traffic is out of its scope.",
    ErrorCode.TOO_LARGE: "The job is larger than 16 MiB.",
    ErrorCode.TENANT_MISMATCH: "The job's tenant is not the one that its topic or key is bound to.",
    ErrorCode.IDEMPOTENCY_CONFLICT: "The idempotency key was used before with another payload.",
    ErrorCode.NO_ROUTE: "No route satisfies the policy and the job's constraints.",
    ErrorCode.BUDGET_EXCEEDED: "The job does not fit the money that is left for it.",
    ErrorCode.APPROVAL_DENIED: "A person denied the approval that this job needed.",
    ErrorCode.REVIEW_REJECTED: "A person rejected the answer in review.",
    ErrorCode.REDACTION_FAILED: "The job could not be redacted as its policy asks, and was not sent.",
    ErrorCode.VALIDATION_FAILED: "The answer did not pass the checks asked for.",
    ErrorCode.NEEDS_CLARIFICATION: "The model asks for more information.",
    ErrorCode.MODEL_REFUSED: "The model refused to answer.",
    ErrorCode.PROVIDER_FAILED: "No attempt brought an answer.",
    ErrorCode.IN_DOUBT: "A call may have been charged without its answer reaching us, and on-call closed it so.",
    ErrorCode.DEADLINE_PASSED: "The deadline passed before an answer came.",
    ErrorCode.CANCELLED: "The job was cancelled.",
    ErrorCode.CONTENT_ERASED: "The content of this job was erased.",
    ErrorCode.INTERNAL: "Waybill could not process this job; on-call has the record.",
}

RETRIABLE: Final = frozenset(
    {ErrorCode.BUDGET_EXCEEDED, ErrorCode.PROVIDER_FAILED, ErrorCode.DEADLINE_PASSED, ErrorCode.INTERNAL}
)
"""Codes for which the same job, published under a new key or replayed, may succeed."""


class FailureClass(StrEnum):
    """What went wrong in an attempt, named alike for all vendors."""

    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    TIMEOUT_UNSENT = "timeout_unsent"
    TIMEOUT_SENT = "timeout_sent"
    UNAVAILABLE = "unavailable"
    CONTEXT_TOO_LONG = "context_too_long"
    CONTENT_FILTERED = "content_filtered"
    REFUSED = "refused"
    INVALID_REQUEST = "invalid_request"
    AUTH = "auth"
    QUOTA_EXHAUSTED = "quota_exhausted"
    MODEL_GONE = "model_gone"
    MALFORMED_ANSWER = "malformed_answer"


FAILURE_GROUPS: Final[dict[str, frozenset[FailureClass]]] = {
    "timeout_or_5xx": frozenset(
        {
            FailureClass.TIMEOUT_UNSENT,
            FailureClass.TIMEOUT_SENT,
            FailureClass.UNAVAILABLE,
            FailureClass.OVERLOADED,
            FailureClass.MALFORMED_ANSWER,
        }
    ),
    "rate_limit": frozenset({FailureClass.RATE_LIMITED, FailureClass.QUOTA_EXHAUSTED}),
    "route_broken": frozenset({FailureClass.AUTH, FailureClass.MODEL_GONE}),
    "too_long": frozenset({FailureClass.CONTEXT_TOO_LONG}),
}
"""Named groups of failure classes that a fallback's ``when`` may use."""


def failure_classes(names: list[str]) -> frozenset[FailureClass]:
    """Return the classes that a list of class and group names stands for; raises ``ValueError`` on an unknown one."""
    classes: set[FailureClass] = set()
    for name in names:
        classes |= FAILURE_GROUPS[name] if name in FAILURE_GROUPS else {FailureClass(name)}
    return frozenset(classes)


class EscalationCause(StrEnum):
    """What makes an answer uncertain enough to ask a stronger model."""

    SCHEMA_INVALID = "schema_invalid"
    LOW_CONFIDENCE = "low_confidence"
    SELF_CHECK_FAILED = "self_check_failed"
    DISAGREEMENT = "disagreement"
    WEAK_RETRIEVAL = "weak_retrieval"
    CITATIONS_INVALID = "citations_invalid"


class EntryKind(StrEnum):
    """The kinds of entries in a record; what may follow what is in the table ``transition``."""

    RECEIVED = "received"
    CLASSIFIED = "classified"
    DECIDED = "decided"
    ATTEMPT_STARTED = "attempt_started"
    ATTEMPT_FINISHED = "attempt_finished"
    VALIDATED = "validated"
    HELD = "held"
    RELEASED = "released"
    SEALED = "sealed"
    LATE_RESULT = "late_result"
    COST_CORRECTED = "cost_corrected"
    ERASED = "erased"
    FEEDBACK = "feedback"


class HeldReason(StrEnum):
    """Why a record waits."""

    IN_DOUBT = "in_doubt"


class Verdict(StrEnum):
    """What ends a hold: a person's verdict on a doubt, or a cause that the router sees by itself.

    ``due`` discloses no doubt, ``retry`` does.
    """

    RETRY = "retry"
    DUE = "due"
    CHARGED = "charged"
    NOT_CHARGED = "not_charged"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    ERASED = "erased"
