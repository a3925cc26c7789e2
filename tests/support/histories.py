"""Whole records as they could have gone, told in a few words, and written as the services write them.

A history is put into the database up to its end; the real recorder then seals it, and drains what came late.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import orjson

from schemas import entries
from schemas.codes import EntryKind, ErrorCode, Status
from schemas.feedback import Feedback
from services.recorder.feedback import entry_of
from services.recorder.late import LateEntries
from services.recorder.stage import RecorderStage
from services.runtime import ledger, queries
from services.runtime.ids import derive, first_record_id
from services.runtime.ledger import ChainWriter
from support.flow import Flow, seal

_EXECUTOR = queries.load("executor")
_MIGRATE = queries.load("migrate")
WORKER: Final = UUID(int=7)
STEP: Final = timedelta(seconds=1)
"""From each entry to the next, but for holds."""


@dataclass(frozen=True)
class Call:
    """A paid call. ``late_usd`` says that its answer came after the seal; it has none before then."""

    route: str = "north/small@eu"
    outcome: Literal["ok", "failed", "lost", "unknown"] = "ok"
    usd: str | None = "0.001"
    tokens: tuple[int, int, int, int] = (100, 0, 10, 0)
    """Input, cached input, output, reasoning."""
    failure_class: str | None = None
    latency_ms: int = 400
    fallback: bool = False
    may_double_pay: bool = False
    valid: bool | None = None
    """Whether it passes the check of its schema; it then is the last call. None: no schema was asked for."""
    late_usd: str | None = None


@dataclass(frozen=True)
class Hold:
    """A wait, and what ended it."""

    reason: str = "in_doubt"
    seconds: float = 60.0
    verdict: str = "retry"


@dataclass(frozen=True)
class History:
    """One record from its job to its end."""

    received_at: datetime
    steps: Sequence[Call | Hold] = (Call(),)
    status: Status = Status.SUCCEEDED
    error: ErrorCode | None = None
    tenant: str = "acme"
    labels: Mapping[str, str] = field(default_factory=dict)
    task: str = "summarise"
    data_class: str = "internal"
    documents: Sequence[str] = ()
    """The trust of each document."""
    findings: Sequence[str] = ()
    reasons: Sequence[str] = ("chosen",)
    expected_usd: tuple[str, str, str] | None = ("0.001", "0.001", "0.004")
    """Of one call: on the route chosen, the cheapest eligible, the dearest."""
    replay_of: UUID | None = None
    feedback: Sequence[tuple[str, float | None, str | None]] = ()
    """Verdict, edit ratio and reason code of each verdict on the answer."""
    record_id: UUID = field(default_factory=lambda: UUID(int=0))

    @property
    def rejected(self) -> bool:
        """Whether it ended at intake."""
        return self.status is Status.REJECTED


def record_id_at(moment: datetime) -> UUID:
    """Return a new record id as of a moment."""
    return UUID(int=first_record_id(moment).int | 7 << 76 | 2 << 62 | secrets.randbits(62))


async def tell(flow: Flow, history: History) -> UUID:
    """Write a history, seal it, and drain what came late, both as the recorder; return its record."""
    host, recorder = flow.host, flow.at("recorder")
    record_id = history.record_id if history.record_id.int else record_id_at(history.received_at)
    await host.pool.execute(_MIGRATE["ensure_partitions"], history.received_at.date(), 1)
    writer = ChainWriter(record_id)
    late, end = _write(writer, history)
    async with host.pool.acquire() as connection, connection.transaction():
        assert not await ledger.append(connection, [ledger.writes(writer, None, history.received_at)])
    aside: list[tuple[EntryKind, UUID, Mapping[str, Any]]] = [
        (EntryKind.LATE_RESULT, derive(record_id, EntryKind.LATE_RESULT, str(claim)), data) for claim, data in late
    ]
    for verdict, ratio, reason in history.feedback:
        said = Feedback(
            schema_version=1,
            tenant=history.tenant,
            record_id=record_id,
            verdict=verdict,  # type: ignore[arg-type]
            edit_ratio=ratio,
            reason_code=reason,
        )
        aside.append((EntryKind.FEEDBACK, *entry_of(record_id, said)))
    for kind, entry_id, data in aside:
        await host.pool.execute(_EXECUTOR["put_aside"], record_id, entry_id, kind, orjson.dumps(data).decode())
    ending = host.wakeups.end(history.tenant, writer.entries[-1], history.status, history.error)
    await seal(RecorderStage(recorder, lambda: end), [ending])
    drain = LateEntries(recorder, lambda: end + timedelta(hours=1)).drain
    appended = 0
    while appended < len(aside):
        appended += await drain()
    return record_id


def _write(writer: ChainWriter, history: History) -> tuple[list[tuple[UUID, dict[str, Any]]], datetime]:
    """Add the entries up to the end; return the claims whose answer came late, each with it, and when it ended."""
    moment = history.received_at
    late: list[tuple[UUID, dict[str, Any]]] = []

    def add(kind: EntryKind, data: Mapping[str, Any], entry_id: UUID | None = None) -> UUID:
        entries.validate(kind, data)
        return writer.add(kind, data, moment, entry_id=entry_id).entry_id

    add(EntryKind.RECEIVED, _received(history, writer.record_id))
    if history.rejected:
        return late, moment + STEP
    add(EntryKind.CLASSIFIED, _classified(history))
    moment += STEP
    add(EntryKind.DECIDED, {"decision": _decision(history)})
    attempt = 0
    for step in history.steps:
        moment += STEP
        if isinstance(step, Hold):
            add(EntryKind.HELD, {"reason": step.reason, "due": None, "claim": None})
            moment += timedelta(seconds=step.seconds)
            add(EntryKind.RELEASED, {"verdict": step.verdict, "actor": None})
            add(EntryKind.DECIDED, {"decision": _decision(history)})
            continue
        attempt += 1
        claim = add(EntryKind.ATTEMPT_STARTED, _started(step, attempt), UUID(int=secrets.randbits(128)))
        if step.late_usd is not None:
            late.append((claim, _late(step, attempt, claim)))
        if step.outcome != "unknown":
            moment += timedelta(milliseconds=step.latency_ms)
            add(EntryKind.ATTEMPT_FINISHED, _finished(step, attempt, claim))
        if step.valid is not None:
            check = {"name": "schema", "result": "pass" if step.valid else "fail"}
            data = {"claim": str(claim), "checks": [check], "passed": step.valid, "safety_actions": []}
            add(EntryKind.VALIDATED, data)
    return late, moment + STEP


def _received(history: History, record_id: UUID) -> dict[str, Any]:
    data = {
        "tenant": history.tenant,
        "latency_class": None if history.rejected else "background",
        "operation": None if history.rejected else "chat",
        "deadline": (history.received_at + timedelta(hours=48)).isoformat(),
        "source": {"topic": "requests", "partition": 0, "offset": 0},
        "bytes": 100,
        "digests": {"job": "00" * 32},
        "labels": dict(history.labels),
        "constraints": {},
        "notify": "final",
        "replay_of": None if history.replay_of is None else str(history.replay_of),
    }
    if history.documents:
        data["documents"] = [
            {"id": f"{place:02x}" * 32, "source": None, "kind": None, "trust": trust, "characters": 10 * place}
            for place, trust in enumerate(history.documents, start=1)
        ]
    if history.rejected:
        data["error"] = {"code": history.error or ErrorCode.INVALID_MESSAGE, "field": None}
    return data


def _classified(history: History) -> dict[str, Any]:
    features = {"task": history.task, "data_class": history.data_class, "risk_tier": "low", "language": "en"}
    findings = [
        {"type": kind, "text": 0, "start": 10 * place, "end": 10 * place + 5, "confidence": 0.9, "detector": "pattern"}
        for place, kind in enumerate(history.findings)
    ]
    return {"features": features, "findings": findings, "truncated": False, "rules": "1"}


def _decision(history: History) -> dict[str, Any]:
    estimate: dict[str, Any] | None = None
    if history.expected_usd is not None:
        chosen, cheapest, dearest = history.expected_usd
        estimate = {"cost_usd": chosen, "cheapest_usd": cheapest, "dearest_usd": dearest}
    return {
        "route": _route(next((step.route for step in history.steps if isinstance(step, Call)), "north/small@eu")),
        "budgets": {"max_cost_usd": "1"},
        "policy": {"bundle": "sha256:1"},
        "reasons": [{"code": code, "rule": None, "text": f"because of {code}"} for code in history.reasons],
        "estimate": estimate,
    }


def _route(name: str) -> dict[str, Any]:
    provider, _, rest = name.partition("/")
    model, _, region = rest.partition("@")
    route = {"provider": provider, "model": model, "version": "1", "region": region, "tier": "standard"}
    return {**route, "alias": "prod-stable"}


def _started(call: Call, attempt: int) -> dict[str, Any]:
    return {
        "attempt": attempt,
        "worker": str(WORKER),
        "route": _route(call.route),
        "layout": "plain-1",
        "fallback": call.fallback,
        "may_double_pay": call.may_double_pay,
        "request_digest": "00" * 32,
        "max_output_tokens": 100,
        "worst_case_usd": "0.01",
        "attempt_deadline": "2026-01-01T00:00:00Z",
    }


def _usage(call: Call) -> dict[str, int]:
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    return dict(zip(names, call.tokens, strict=True))


def _finished(call: Call, attempt: int, claim: UUID) -> dict[str, Any]:
    ok = call.outcome == "ok"
    return {
        "claim": str(claim),
        "attempt": attempt,
        "outcome": call.outcome,
        "failure_class": call.failure_class,
        "http_status": 200 if ok else None,
        "usage": _usage(call) if ok else None,
        "cost_usd": None if call.outcome == "lost" else call.usd,
        "latency_ms": call.latency_ms,
        "provider_request_id": f"req-{attempt}",
        "response_model": "small-2026" if ok else None,
        "finish_reason": "stop" if ok else None,
        "retry_after_ms": None,
        "output_digest": None,
        "output_entry": None,
    }


def _late(call: Call, attempt: int, claim: UUID) -> dict[str, Any]:
    return {
        "claim": str(claim),
        "attempt": attempt,
        "outcome": "ok",
        "failure_class": None,
        "usage": _usage(call),
        "cost_usd": call.late_usd,
        "latency_ms": call.latency_ms,
        "provider_request_id": f"late-{attempt}",
        "worker": str(WORKER),
        "route": _route(call.route),
    }
