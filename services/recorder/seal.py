"""What a record's end says: totals and status, from its chain. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from schemas.codes import ERROR_MESSAGES, EntryKind, ErrorCode
from schemas.entries import FaultData, Sealed, Totals
from schemas.messages import Outcome
from services.recorder.facts import Parsed

_TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")


def sealed_data(chain: Sequence[Parsed], outcome: Outcome) -> Sealed:
    """Return the data of the ``sealed`` entry that ends a chain as an outcome says."""
    error: FaultData | None = None
    if outcome.error is not None:
        error = FaultData(code=outcome.error.code, field=outcome.error.field)
        conflict = chain[0].data.get("error") or {}
        if "record_id" in conflict:
            error["record_id"] = conflict["record_id"]
    return Sealed(status=outcome.status, error=error, output_entry=_output_entry(chain), totals=totals(chain))


def totals(chain: Sequence[Parsed]) -> Totals:
    """Return what a chain used, over all its attempts."""
    tokens = dict.fromkeys(_TOKENS, 0)
    cost = Decimal(0)
    attempts = fallbacks = answered = 0
    for step in chain:
        if step.entry.kind == EntryKind.ATTEMPT_STARTED:
            attempts += 1
            fallbacks += bool(step.data["fallback"])
        elif step.entry.kind == EntryKind.ATTEMPT_FINISHED:
            data = step.data
            answered += data["outcome"] != "lost"
            cost += Decimal(data["cost_usd"] or 0)
            for name in _TOKENS if data["usage"] else ():
                tokens[name] += data["usage"][name]
    return Totals(
        attempts=attempts,
        fallbacks=fallbacks,
        unresolved=attempts - answered,
        input_tokens=tokens["input_tokens"],
        cached_input_tokens=tokens["cached_input_tokens"],
        output_tokens=tokens["output_tokens"],
        reasoning_tokens=tokens["reasoning_tokens"],
        cost_usd=format(cost, "f"),
    )


def message_for(code: str) -> str:
    """Return the fixed words of an error code."""
    return ERROR_MESSAGES[ErrorCode(code)]


def _output_entry(chain: Sequence[Parsed]) -> str | None:
    for step in reversed(chain):
        if step.entry.kind == EntryKind.ATTEMPT_FINISHED:
            found: str | None = step.data["output_entry"]
            return found
    return None
