"""Chains for tests of the runtime: entries as the stages write them, with data of the right shape."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from schemas.codes import EntryKind, FailureClass, RiskTier
from schemas.decision import AppliedPolicy, Budgets, Decision, Estimate, Fallback, Inputs, NoRoute, Reason, Route
from schemas.entries import DATA
from schemas.features import Features
from services.runtime.ids import new_claim_id
from services.runtime.ledger import ChainWriter, Entry

RECORD = UUID("01936b1e-0000-7000-8000-000000000001")
WORKER = UUID(int=7)
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)

ROUTE = Route(provider="alpha", model="small", version="1", region="eu", tier="standard")
POLICY = AppliedPolicy(
    bundle="sha256:0",
    risk_tier=RiskTier.LOW,
    safety_mode="standard",
    tools_allowed=[],
    requires_approval_for=[],
    require_citations=False,
    human_review=False,
    retention="any",
)
INPUTS = Inputs(catalog="sha256:1", aliases="1", health="none", budgets="none")
DECISION = Decision(
    route=ROUTE,
    budgets=Budgets(
        max_input_tokens=1_000,
        max_output_tokens=100,
        max_tool_calls=0,
        max_attempts=6,
        deadline_ms=3_600_000,
        max_cost_usd=Decimal("0.04"),
    ),
    policy=POLICY,
    fallbacks=[Fallback(route=ROUTE.model_copy(update={"provider": "beta"}), when=["timeout_or_5xx"])],
    reasons=[Reason(code="chosen", text="the cheapest")],
    ruled_out=[],
    estimate=Estimate(input_tokens=10, output_tokens=10, cost_usd=Decimal("0.001"), worst_case_usd=Decimal("0.01")),
    inputs=INPUTS,
)
FEATURES = Features(
    tenant="acme",
    latency_class="background",
    operation="chat",
    task="summarise",
    task_confidence=0.9,
    language="en",
    input_tokens=10,
    characters=40,
    messages=1,
    documents=0,
    untrusted_documents=0,
    tools=[],
    structured_output=False,
    quality="standard",
    data_class="internal",
    domains=[],
    risk_tier=RiskTier.LOW,
    injection_suspected=False,
    findings={},
)


@cache
def _shape(kind: EntryKind) -> TypeAdapter[Any]:
    return TypeAdapter(DATA[kind])


class ChainBuilder:
    """Adds one entry at a time; each method returns it."""

    def __init__(self, *, latency_class: str | None = "background", error: dict[str, Any] | None = None) -> None:
        """Begin with ``received``."""
        self._writer = ChainWriter(RECORD)
        data = {
            "tenant": "acme",
            "latency_class": latency_class,
            "operation": "chat",
            "deadline": (AT + timedelta(hours=48)).isoformat(),
            "source": {"topic": "waybill.requests", "partition": 0, "offset": 5},
            "bytes": 100,
            "digests": {},
            "labels": {},
            "constraints": {},
            "notify": "final",
            "replay_of": None,
        }
        self.add(EntryKind.RECEIVED, data if error is None else {**data, "error": error})

    @property
    def chain(self) -> list[Entry]:
        """All entries so far."""
        return self._writer.entries

    def add(self, kind: EntryKind, data: dict[str, Any], *, entry_id: UUID | None = None) -> Entry:
        """Append any entry whose data has the shape of its kind."""
        _shape(kind).validate_python(data)
        return self._writer.add(kind, data, AT, entry_id=entry_id)

    def classified(self) -> Entry:
        """The features are known."""
        data = {"features": FEATURES.attributes(), "findings": [], "truncated": False, "rules": "sha256:2"}
        return self.add(EntryKind.CLASSIFIED, data)

    def decided(self, decision: Decision | NoRoute = DECISION) -> Entry:
        """A decision was made."""
        data = decision.model_dump(mode="json")
        return self.add(
            EntryKind.DECIDED, {"decision": data if isinstance(decision, Decision) else {"route": None} | data}
        )

    def started(self, *, may_double_pay: bool = False, worst_case_usd: str = "0.01") -> Entry:
        """A claim."""
        data = {
            "attempt": 1 + sum(entry.kind == EntryKind.ATTEMPT_STARTED for entry in self.chain),
            "worker": str(WORKER),
            "route": ROUTE.model_dump(mode="json"),
            "layout": "plain-1",
            "fallback": False,
            "may_double_pay": may_double_pay,
            "request_digest": "0" * 64,
            "max_output_tokens": 100,
            "worst_case_usd": worst_case_usd,
            "attempt_deadline": (AT + timedelta(minutes=2)).isoformat(),
        }
        return self.add(EntryKind.ATTEMPT_STARTED, data, entry_id=new_claim_id())

    def finished(self, claim: UUID, outcome: str = "ok", cost_usd: str | None = "0.001") -> Entry:
        """What came of a claim."""
        data = {
            "claim": str(claim),
            "attempt": 1,
            "outcome": outcome,
            "failure_class": None if outcome == "ok" else FailureClass.TIMEOUT_SENT,
            "http_status": 200,
            "usage": None,
            "cost_usd": None if outcome == "lost" else cost_usd,
            "latency_ms": 12,
            "provider_request_id": None,
            "response_model": None,
            "finish_reason": None,
            "retry_after_ms": None,
            "output_digest": None,
            "output_entry": None,
        }
        return self.add(EntryKind.ATTEMPT_FINISHED, data)

    def late(self, claim: UUID, outcome: str = "ok") -> Entry:
        """The answer of a fenced worker."""
        data = {
            "claim": str(claim),
            "attempt": 1,
            "outcome": outcome,
            "failure_class": None,
            "usage": None,
            "cost_usd": "0.002",
            "latency_ms": 12,
            "provider_request_id": None,
            "worker": str(WORKER),
            "route": ROUTE.model_dump(mode="json"),
        }
        return self.add(EntryKind.LATE_RESULT, data)

    def validated(self, claim: UUID) -> Entry:
        """The answer was checked."""
        data = {"claim": str(claim), "checks": [], "passed": True, "safety_actions": []}
        return self.add(EntryKind.VALIDATED, data)

    def held(self) -> Entry:
        """The record waits."""
        return self.add(EntryKind.HELD, {"reason": "in_doubt", "due": None, "claim": None})

    def released(self, verdict: str) -> Entry:
        """The wait is over."""
        return self.add(EntryKind.RELEASED, {"verdict": verdict, "actor": "anna"})

    def sealed(self) -> Entry:
        """The record ends."""
        totals = {
            "attempts": 1,
            "fallbacks": 0,
            "unresolved": 0,
            "input_tokens": 1,
            "cached_input_tokens": 0,
            "output_tokens": 1,
            "reasoning_tokens": 0,
            "cost_usd": "0.001",
        }
        return self.add(
            EntryKind.SEALED, {"status": "succeeded", "error": None, "output_entry": None, "totals": totals}
        )


def no_route(code: str) -> NoRoute:
    """Return a decision that nothing is eligible."""
    return NoRoute(policy=POLICY, reasons=[Reason(code=code, text="nothing fits")], ruled_out=[], inputs=INPUTS)
