"""The entries of a record: what each kind says, as it stands in the hashed body.

The body of an entry is one JSON text: the envelope ``record_id``, ``seq``, ``entry_id``, ``kind``,
``schema_version``, ``recorded_at``, ``prev_hash``, and ``data``, whose shape depends on the kind and is typed here.
Data holds ids, digests, counts and decisions; a caller's free text stands only as a keyed digest.
"""

from __future__ import annotations

from typing import Final, Literal, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict  # on Python 3.11 pydantic takes no other

from schemas.codes import EntryKind

ENTRY_SCHEMA_VERSION: Final = 1


class Source(TypedDict):
    """Where a job came from."""

    topic: str
    partition: int
    offset: int


class DocumentData(TypedDict):
    """A document given with the job: keyed digests of its id and source, and how far its source is trusted."""

    id: str
    source: str | None
    kind: Literal["url", "name"] | None
    trust: str
    characters: int


class Received(TypedDict):
    """A job has come in."""

    tenant: str
    latency_class: str | None
    operation: str | None
    deadline: str
    source: Source
    bytes: int
    digests: dict[str, str]
    labels: dict[str, str]
    constraints: dict[str, object]
    notify: str
    replay_of: str | None
    documents: NotRequired[list[DocumentData]]
    error: NotRequired[FaultData]


class FaultData(TypedDict):
    """Why a record ends without success."""

    code: str
    field: str | None
    record_id: NotRequired[str]
    """The other record, where the fault is a conflict with it."""


class FindingData(TypedDict):
    """What was found where; never the value. Spans count code points over the job's texts in order."""

    type: str
    text: int
    start: int
    end: int
    confidence: float
    detector: str


class SuspicionData(TypedDict):
    """How much one text of the job looks like an injection, and by which signs; never what it says.

    ``document`` is the document's place in the job, and ``trust`` what the job says of it; null for other texts.
    """

    text: int
    document: int | None
    trust: str | None
    score: float
    suspected: bool
    signals: list[str]


class Reasons(TypedDict):
    """What made each label what it is: ids of rules, types of findings, or that it was declared."""

    data_class: list[str]
    risk_tier: list[str]
    action_class: list[str]


class RedactionData(TypedDict):
    """The redacted text in the vault: places replaced by type, and its keyed digest.

    Where it is not ``whole``, more is missing than what was found: a text could not be looked at completely.
    """

    counts: dict[str, int]
    whole: bool
    digest: str


class Classified(TypedDict):
    """What is in the job; without ``redaction`` nothing was found that a redacted text would leave out."""

    features: dict[str, object]
    findings: list[FindingData]
    truncated: bool
    rules: str
    suspicions: NotRequired[list[SuspicionData]]
    """Texts with any sign, the most suspect first."""
    reasons: NotRequired[Reasons]
    detectors_failed: NotRequired[list[str]]
    """Each with the kind of its error; what it would have said was taken to be the worst."""
    redaction: NotRequired[RedactionData]


class Decided(TypedDict):
    """Where the job goes, and why."""

    decision: dict[str, object]


class AttemptStarted(TypedDict):
    """The claim of a paid call, committed before the call. Its ``entry_id`` is random."""

    attempt: int
    worker: str
    route: dict[str, object]
    layout: str
    fallback: bool
    may_double_pay: bool
    request_digest: str
    max_output_tokens: int
    worst_case_usd: str
    attempt_deadline: str


class Usage(TypedDict):
    """Tokens in OpenTelemetry GenAI meaning: cached are inside input, reasoning inside output."""

    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int


class AttemptFinished(TypedDict):
    """What came of a call. ``outcome`` ``lost`` means: it may have been charged, and no answer came."""

    claim: str
    attempt: int
    outcome: Literal["ok", "failed", "lost"]
    failure_class: str | None
    http_status: int | None
    usage: Usage | None
    cost_usd: str | None
    latency_ms: int
    provider_request_id: str | None
    response_model: str | None
    finish_reason: str | None
    retry_after_ms: int | None
    output_digest: str | None
    output_entry: str | None


class Check(TypedDict):
    """One check of an answer."""

    name: str
    result: Literal["pass", "fail", "error"]


class Validated(TypedDict):
    """What the checks of an answer said."""

    claim: str
    checks: list[Check]
    passed: bool
    safety_actions: list[str]


class Held(TypedDict):
    """The record waits."""

    reason: str
    due: str | None
    claim: str | None


class Released(TypedDict):
    """The record goes on, or ends: who or what said so."""

    verdict: str
    actor: str | None


class Totals(TypedDict):
    """What a record used, over all its attempts; unanswered claims are counted in ``unresolved``."""

    attempts: int
    fallbacks: int
    unresolved: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: str


class Sealed(TypedDict):
    """The end: after it only late entries follow."""

    status: str
    error: FaultData | None
    output_entry: str | None
    totals: Totals


class LateResult(TypedDict):
    """The answer of a worker that had lost its record, with its cost."""

    claim: str
    attempt: int
    outcome: str
    failure_class: str | None
    usage: Usage | None
    cost_usd: str | None
    latency_ms: int
    provider_request_id: str | None
    worker: str
    route: dict[str, object]


class CostCorrected(TypedDict):
    """What is to be added to, or taken off, the known cost of a call: who said so, after which invoice or ticket."""

    claim: str
    attempt: int
    cost_usd: str
    reference: str
    actor: str


class Erased(TypedDict):
    """The content was erased: key and ciphertext are gone, and the digests say nothing any more. Why is in the log."""

    cause: Literal["record", "subject", "replay", "retention"]
    actor: str
    asked_at: str


class FeedbackData(TypedDict):
    """What somebody thought of the answer. Who it was is not known; the same verdict counts once."""

    verdict: str
    edit_ratio: float | None
    reason_code: str | None


DATA: Final[dict[EntryKind, type]] = {
    EntryKind.RECEIVED: Received,
    EntryKind.CLASSIFIED: Classified,
    EntryKind.DECIDED: Decided,
    EntryKind.ATTEMPT_STARTED: AttemptStarted,
    EntryKind.ATTEMPT_FINISHED: AttemptFinished,
    EntryKind.VALIDATED: Validated,
    EntryKind.HELD: Held,
    EntryKind.RELEASED: Released,
    EntryKind.SEALED: Sealed,
    EntryKind.LATE_RESULT: LateResult,
    EntryKind.COST_CORRECTED: CostCorrected,
    EntryKind.ERASED: Erased,
    EntryKind.FEEDBACK: FeedbackData,
}


def validate(kind: str, data: object) -> None:
    """Raise ``pydantic.ValidationError`` unless ``data`` has the shape that ``kind`` has in this release."""
    TypeAdapter(DATA[EntryKind(kind)]).validate_python(data)
