"""The result of a sealed record: pure, and made only from what is stored, so that it is the same every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from schemas.codes import RETRIABLE, EntryKind, ErrorCode
from schemas.job import MAX_KEY, MAX_METADATA_BYTES
from services.recorder.facts import Parsed
from services.recorder.seal import message_for


@dataclass(frozen=True, slots=True)
class Contents:
    """What the vault holds for a result: raw bytes, None where erased or never there."""

    job: bytes | None = None
    output: bytes | None = None
    erased: bool = False


def build_result(chain: Sequence[Parsed], contents: Contents) -> bytes:
    """Return the JSON of the result of a chain that holds a ``sealed`` entry; entries after it change nothing."""
    end = next(index for index, step in enumerate(chain) if step.entry.kind == EntryKind.SEALED)
    steps = chain[: end + 1]
    first, sealed = steps[0], steps[end]
    totals, error = sealed.data["totals"], sealed.data["error"]
    decision = _last(steps, EntryKind.DECIDED).get("decision") or {}
    started = _last(steps, EntryKind.ATTEMPT_STARTED)
    validated = _last(steps, EntryKind.VALIDATED)
    job = _echo(contents.job)
    return orjson.dumps(
        {
            "schema_version": 1,
            "event": "final",
            "record_id": str(first.entry.record_id),
            "tenant": first.data["tenant"],
            "idempotency_key": job.get("idempotency_key"),
            "source": first.data["source"],
            "status": sealed.data["status"],
            "error": None if error is None else _error(error),
            "output": orjson.Fragment(contents.output) if contents.output is not None else None,
            "validation": validated.get("checks", []),
            "citations": [],
            "safety_actions": validated.get("safety_actions", []),
            "route": started.get("route") or decision.get("route"),
            "budgets": decision.get("budgets"),
            "fallbacks_taken": totals["fallbacks"],
            "usage": {
                name: totals[name]
                for name in ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
            },
            "cost_usd": totals["cost_usd"],
            "attempts": totals["attempts"],
            "erased": contents.erased or (error is not None and error["code"] == ErrorCode.CONTENT_ERASED),
            "received_at": first.at,
            "sealed_at": sealed.at,
            "replay_of": first.data["replay_of"],
            "record_head": {"seq": sealed.entry.seq, "hash": sealed.entry.hash.hex()},
            "metadata": job.get("metadata") or {},
        },
        option=orjson.OPT_UTC_Z,
    )


def _error(error: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code": error["code"],
        "field": error["field"],
        "message": message_for(error["code"]),
        "record_id": error.get("record_id"),
        "retriable": error["code"] in RETRIABLE,
    }


def _last(steps: Sequence[Parsed], kind: EntryKind) -> Mapping[str, Any]:
    return next((step.data for step in reversed(steps) if step.entry.kind == kind), {})


def _echo(job: bytes | None) -> dict[str, Any]:
    """Return what a result repeats of its job; a job that could not be parsed has nothing to repeat."""
    if job is None:
        return {}
    try:
        parsed = orjson.loads(job)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(parsed, dict):
        return {}
    key, metadata = parsed.get("idempotency_key"), parsed.get("metadata")
    return {
        "idempotency_key": key if isinstance(key, str) and len(key) <= MAX_KEY else None,
        "metadata": metadata if isinstance(metadata, dict) and _may_be_echoed(metadata) else {},
    }


def _may_be_echoed(metadata: object) -> bool:
    """Whether metadata is within the job schema's limits: what was rejected may not be, and a result has to fit."""
    try:
        # In a list, because it will stand one level deeper in the result.
        return len(orjson.dumps([metadata])) <= MAX_METADATA_BYTES
    except orjson.JSONEncodeError:
        return False
