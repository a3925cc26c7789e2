"""Facts for analysts, derived from a chain: pure, so that they can be rebuilt from the entries at any time.

What the recorder appends at the seal, what it adds for late entries, and what a rebuild makes of the same chain are
rows of the same functions: :func:`rows_of` gives all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson

from schemas.codes import EntryKind
from services.runtime.ledger import Entry

REQUEST_COLUMNS: Final = (
    "record_id", "received_at", "tenant", "labels", "status", "error_code", "latency_class", "operation", "task",
    "data_class", "risk_tier", "user_tier", "language", "alias", "provider", "model", "model_version", "region", "tier",
    "policy_bundle", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_usd",
    "cost_dearest_eligible_usd", "decided_at", "started_at", "finished_at", "sealed_at", "held_seconds", "attempts",
    "fallbacks", "escalated", "schema_valid", "replay_of", "cost_estimate_usd", "cost_cheapest_eligible_usd",
)  # fmt: skip
ATTEMPT_COLUMNS: Final = (
    "record_id", "received_at", "seq", "attempt", "row_kind", "tenant", "latency_class", "provider", "model", "region",
    "tier", "fallback", "may_double_pay", "worker", "outcome", "failure_class", "http_status", "started_at",
    "finished_at", "latency_ms", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_usd",
    "provider_request_id", "response_model", "finish_reason",
)  # fmt: skip
SOURCE_COLUMNS: Final = (
    "record_id", "received_at", "position", "tenant", "trust", "source_kind", "document_digest", "source_digest",
    "characters",
)  # fmt: skip
FEEDBACK_COLUMNS: Final = (
    "record_id", "received_at", "seq", "tenant", "given_at", "verdict", "edit_ratio", "reason_code",
)  # fmt: skip
TABLES: Final = {
    "request": REQUEST_COLUMNS,
    "attempt": ATTEMPT_COLUMNS,
    "source": SOURCE_COLUMNS,
    "feedback": FEEDBACK_COLUMNS,
}
"""The tables of facts with their columns, in the order in which everybody writes and locks them."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """An entry with its body parsed, once for all that reads it."""

    entry: Entry
    at: datetime
    data: dict[str, Any]


def parse(chain: Sequence[Entry]) -> list[Parsed]:
    """Parse the bodies of a chain."""
    parsed = []
    for entry in chain:
        body = entry.content()
        parsed.append(Parsed(entry, datetime.fromisoformat(body["recorded_at"]), body["data"]))
    return parsed


def rows_of(chain: Sequence[Parsed]) -> dict[str, list[Row]]:
    """Return all rows that a chain has, by the name of their table in :data:`TABLES`; none before it is sealed."""
    sealed = next((place for place, step in enumerate(chain) if step.entry.kind == EntryKind.SEALED), None)
    if sealed is None:
        return {table: [] for table in TABLES}
    rows = {
        "request": [request_row(chain)],
        "attempt": attempt_rows(chain),
        "source": source_rows(chain),
        "feedback": [],
    }
    for late in chain[sealed + 1 :]:
        for table, row in late_rows(chain, late):
            rows[table].append(row)
    return rows


def request_row(chain: Sequence[Parsed]) -> Row:
    """Return the row of :data:`REQUEST_COLUMNS` of a sealed chain."""
    first = chain[0]
    received = first.data
    features: Mapping[str, Any] = {}
    decision: Mapping[str, Any] = {}
    decided_at = started_at = finished_at = sealed_at = None
    route: Mapping[str, Any] = {}
    sealed: Mapping[str, Any] = {}
    schema_valid: bool | None = None
    held: dict[str, float] = {}
    waiting: Parsed | None = None
    for step in chain:
        match step.entry.kind:
            case EntryKind.CLASSIFIED:
                features = step.data["features"]
            case EntryKind.DECIDED:
                decision, decided_at = step.data["decision"], step.at
                route = decision["route"] or {}
            case EntryKind.ATTEMPT_STARTED:
                route = {**step.data["route"], "alias": route.get("alias")}
                started_at = started_at or step.at
            case EntryKind.ATTEMPT_FINISHED:
                finished_at = step.at
            case EntryKind.VALIDATED:
                results = [check["result"] for check in step.data["checks"] if check["name"] in ("schema", "json")]
                schema_valid = all(result == "pass" for result in results) if results else None
            case EntryKind.HELD:
                waiting = step
            case EntryKind.RELEASED if waiting is not None:
                reason = waiting.data["reason"]
                held[reason] = round(held.get(reason, 0.0) + (step.at - waiting.at).total_seconds(), 3)
            case EntryKind.SEALED:
                sealed, sealed_at = step.data, step.at
    totals = sealed["totals"]
    estimate = decision.get("estimate") or {}
    return (
        first.entry.record_id,
        first.at,
        received["tenant"],
        orjson.dumps(received["labels"]).decode(),
        sealed["status"],
        sealed["error"]["code"] if sealed["error"] else None,
        received["latency_class"],
        received["operation"],
        features.get("task"),
        features.get("data_class"),
        features.get("risk_tier"),
        features.get("user_tier"),
        features.get("language"),
        route.get("alias"),
        route.get("provider"),
        route.get("model"),
        route.get("version"),
        route.get("region"),
        route.get("tier"),
        (decision.get("policy") or {}).get("bundle"),
        totals["input_tokens"],
        totals["cached_input_tokens"],
        totals["output_tokens"],
        totals["reasoning_tokens"],
        Decimal(totals["cost_usd"]),
        _usd(estimate.get("dearest_usd")),
        decided_at,
        started_at,
        finished_at,
        sealed_at,
        orjson.dumps(held).decode(),
        totals["attempts"],
        totals["fallbacks"],
        False,
        schema_valid,
        UUID(received["replay_of"]) if received["replay_of"] else None,
        _usd(estimate.get("cost_usd")),
        _usd(estimate.get("cheapest_usd")),
    )


def attempt_rows(chain: Sequence[Parsed]) -> list[Row]:
    """Return the rows of :data:`ATTEMPT_COLUMNS` of every paid call in a chain, answered or not."""
    answers = {s.data["claim"]: s for s in chain if s.entry.kind == EntryKind.ATTEMPT_FINISHED}
    return [
        _attempt_row(chain[0], step, answers.get(str(step.entry.entry_id)))
        for step in chain
        if step.entry.kind == EntryKind.ATTEMPT_STARTED
    ]


def source_rows(chain: Sequence[Parsed]) -> list[Row]:
    """Return the rows of :data:`SOURCE_COLUMNS` of the documents that a chain's job was given, in their order."""
    first = chain[0]
    return [
        (
            first.entry.record_id,
            first.at,
            position,
            first.data["tenant"],
            document["trust"],
            document["kind"],
            document["id"],
            document["source"],
            document["characters"],
        )
        for position, document in enumerate(first.data.get("documents", ()), start=1)
    ]


def late_rows(chain: Sequence[Parsed], late: Parsed) -> list[tuple[str, Row]]:
    """Return what an entry after the seal adds, each row with the name of its table in :data:`TABLES`.

    Raises ``LookupError`` where the chain does not hold the claim that the entry names.
    """
    match late.entry.kind:
        case EntryKind.LATE_RESULT:
            return [("attempt", _row(chain[0], _claim(chain, late), late.entry.seq, "late", late.data, late.at))]
        case EntryKind.COST_CORRECTED:
            amount = {"outcome": "corrected", "cost_usd": late.data["cost_usd"]}
            return [("attempt", _row(chain[0], _claim(chain, late), late.entry.seq, "correction", amount, late.at))]
        case EntryKind.FEEDBACK:
            return [("feedback", feedback_row(chain, late))]
    return []


def _claim(chain: Sequence[Parsed], late: Parsed) -> Parsed:
    claim = next((step for step in chain if str(step.entry.entry_id) == late.data["claim"]), None)
    if claim is None:
        raise LookupError(f"the chain does not hold the claim that its {late.entry.kind} names")
    return claim


def feedback_row(chain: Sequence[Parsed], given: Parsed) -> Row:
    """Return the row of :data:`FEEDBACK_COLUMNS` of a verdict on the answer."""
    first, data = chain[0], given.data
    return (
        first.entry.record_id,
        first.at,
        given.entry.seq,
        first.data["tenant"],
        given.at,
        data["verdict"],
        data["edit_ratio"],
        data["reason_code"],
    )


def _attempt_row(first: Parsed, claim: Parsed, answer: Parsed | None) -> Row:
    data = answer.data if answer else {}
    return _row(first, claim, claim.entry.seq, "attempt", data, answer.at if answer else None)


def _row(
    first: Parsed, claim: Parsed, seq: int, row_kind: str, answer: Mapping[str, Any], finished_at: datetime | None
) -> Row:
    route, usage = claim.data["route"], answer.get("usage") or {}
    return (
        first.entry.record_id,
        first.at,
        seq,
        claim.data["attempt"],
        row_kind,
        first.data["tenant"],
        first.data["latency_class"],
        route["provider"],
        route["model"],
        route["region"],
        route["tier"],
        claim.data["fallback"],
        claim.data["may_double_pay"],
        UUID(claim.data["worker"]),
        answer.get("outcome", "unknown"),
        answer.get("failure_class"),
        answer.get("http_status"),
        claim.at,
        finished_at,
        answer.get("latency_ms"),
        usage.get("input_tokens", 0),
        usage.get("cached_input_tokens", 0),
        usage.get("output_tokens", 0),
        usage.get("reasoning_tokens", 0),
        Decimal(answer.get("cost_usd") or 0),
        answer.get("provider_request_id"),
        answer.get("response_model"),
        answer.get("finish_reason"),
    )


def _usd(amount: str | None) -> Decimal | None:
    return None if amount is None else Decimal(amount)
