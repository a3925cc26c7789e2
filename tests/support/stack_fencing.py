"""What a history says of workers that lost their records to others. Pure; each function returns what must not be.

A worker is fenced when somebody claims a call behind its open claim. From then on nothing of it may enter the chain,
and what it was charged stands behind the seal, as a late answer with its cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from schemas.codes import EntryKind
from services.recorder import facts
from services.recorder.facts import Parsed
from support.oracle import History

_OF_A_CLAIM = (EntryKind.ATTEMPT_FINISHED, EntryKind.VALIDATED)


def stale_appends(history: History) -> list[str]:
    """Return every entry of an attempt that stands behind a later claim on its record."""
    return [
        f"{record_id}: the {step.entry.kind} at {step.entry.seq} is of a claim before the one at {claim.entry.seq}"
        for record_id, chain in _chains(history)
        for claim, step in _behind_claims(chain)
        if step.data["claim"] != str(claim.entry.entry_id)
    ]


def untold_charges(history: History) -> list[str]:
    """Return every charge for these jobs that is told neither by its attempt nor, with its cost, by a late answer."""
    told: set[UUID] = set()
    for _, chain in _chains(history):
        for step in chain:
            answered = step.entry.kind == EntryKind.ATTEMPT_FINISHED and step.data["outcome"] in ("ok", "failed")
            late = step.entry.kind == EntryKind.LATE_RESULT and step.data["cost_usd"] is not None
            if answered or late:
                told.add(UUID(step.data["claim"]))
    return [
        f"charge {charge.charge_id} of {history.claims[UUID(charge.attempt)]} is told nowhere"
        for charge in history.charges
        if charge.attempt is not None
        and history.claims.get(UUID(charge.attempt)) in history.chains
        and UUID(charge.attempt) not in told
    ]


def late_answers(history: History) -> list[Parsed]:
    """Return the late answers, each of a fenced worker."""
    return [step for _, chain in _chains(history) for step in chain if step.entry.kind == EntryKind.LATE_RESULT]


def open_claims(history: History, worker: str) -> list[str]:
    """Return the claims of a worker that were never answered in their chain: others took the record from it."""
    found = []
    for record_id, chain in _chains(history):
        answered = {step.data["claim"] for step in chain if step.entry.kind == EntryKind.ATTEMPT_FINISHED}
        found += [
            f"{record_id}: the claim at {step.entry.seq} was taken from {worker}"
            for step in chain
            if step.entry.kind == EntryKind.ATTEMPT_STARTED
            and step.data["worker"] == worker
            and str(step.entry.entry_id) not in answered
        ]
    return found


def _chains(history: History) -> Iterator[tuple[UUID, list[Parsed]]]:
    for record_id, chain in history.chains.items():
        yield record_id, facts.parse(chain)


def _behind_claims(chain: Sequence[Parsed]) -> Iterator[tuple[Parsed, Parsed]]:
    """Yield each entry of an attempt with the last claim before it."""
    claim = None
    for step in chain:
        if step.entry.kind == EntryKind.ATTEMPT_STARTED:
            claim = step
        elif step.entry.kind in _OF_A_CLAIM:
            assert claim is not None, "nothing is answered before it is claimed"
            yield claim, step
