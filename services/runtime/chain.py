"""Reading a chain: which claims have no answer, what is in doubt, what was spent. Pure functions over its entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from schemas.codes import EntryKind, FailureClass, Verdict
from services.runtime.ledger import Entry

_DOUBT_VERDICTS: Final = frozenset({Verdict.RETRY, Verdict.CHARGED, Verdict.NOT_CHARGED})


@dataclass(slots=True)
class Claim:
    """One paid call as the chain tells it."""

    entry_id: UUID
    seq: int
    attempt: int
    worker: UUID
    route: str
    may_double_pay: bool
    worst_case_usd: Decimal
    deadline: datetime
    outcome: str | None = None
    failure_class: FailureClass | None = None
    cost_usd: Decimal = Decimal(0)

    @property
    def resolved(self) -> bool:
        """Whether the chain says what the provider did."""
        return self.outcome in ("ok", "failed")


@dataclass(slots=True)
class Progress:
    """What has been tried for one record."""

    claims: list[Claim] = field(default_factory=list)
    _disclosed_until: int = -1

    @property
    def unresolved(self) -> list[Claim]:
        """Claims of which nothing says what the provider did; they may have been charged."""
        return [claim for claim in self.claims if not claim.resolved]

    @property
    def in_doubt(self) -> bool:
        """Whether a claim has no answer and nothing after it disclosed that: doubt belongs to the chain."""
        return any(claim.seq >= self._disclosed_until for claim in self.unresolved)

    @property
    def double_paying(self) -> int:
        """How many attempts were made although an earlier one might have been charged."""
        return sum(claim.may_double_pay for claim in self.claims)

    @property
    def spent_usd(self) -> Decimal:
        """Known costs, and every unknown one in full (people can be wrong, and the answer can still come)."""
        return sum(
            (claim.cost_usd if claim.resolved else claim.worst_case_usd for claim in self.claims), start=Decimal(0)
        )

    def start(self, claim: Claim) -> None:
        """Add a claim; one marked ``may_double_pay`` discloses every doubt before it."""
        if claim.may_double_pay:
            self._disclosed_until = claim.seq
        self.claims.append(claim)

    def finish(self, claim_id: UUID, data: dict[str, Any]) -> None:
        """Record what came of a claim."""
        for claim in self.claims:
            if claim.entry_id == claim_id:
                claim.outcome = data["outcome"]
                claim.failure_class = FailureClass(data["failure_class"]) if data["failure_class"] else None
                # A complete answer that names no cost may have cost all that it could.
                claim.cost_usd = claim.worst_case_usd if data["cost_usd"] is None else Decimal(data["cost_usd"])

    def released(self, seq: int, verdict: str) -> None:
        """Note a verdict; one on a doubt discloses what lies before it."""
        if verdict in _DOUBT_VERDICTS:
            self._disclosed_until = seq


def claim_of(entry: Entry, data: dict[str, Any]) -> Claim:
    """Return the claim that an ``attempt_started`` entry holds."""
    route = data["route"]
    return Claim(
        entry_id=entry.entry_id,
        seq=entry.seq,
        attempt=data["attempt"],
        worker=UUID(data["worker"]),
        route=f"{route['provider']}/{route['model']}@{route['region']}",
        may_double_pay=data["may_double_pay"],
        worst_case_usd=Decimal(data["worst_case_usd"]),
        deadline=datetime.fromisoformat(data["attempt_deadline"]),
    )


def progress_of(chain: Sequence[Entry]) -> Progress:
    """Return what a chain says was tried."""
    progress = Progress()
    for entry in chain:
        match entry.kind:
            case EntryKind.ATTEMPT_STARTED:
                progress.start(claim_of(entry, entry.content()["data"]))
            case EntryKind.ATTEMPT_FINISHED | EntryKind.LATE_RESULT:
                data = entry.content()["data"]
                progress.finish(UUID(data["claim"]), data)
            case EntryKind.RELEASED:
                progress.released(entry.seq, entry.content()["data"]["verdict"])
    return progress
