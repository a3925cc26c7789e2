"""The history of a run, read from what is left of its world, for the oracle to judge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import orjson
from support.oracle import History, faults

from schemas.codes import EntryKind
from schemas.topics import RESULTS
from services.runtime.tenant_keys import TenantKeys
from simulation.backend import TENANT, Backend
from simulation.process import MASTERS
from simulation.world import World

NOBODY_TO_ASK: Any = None
"""No database: the keys are taken as they lie there."""


def judged(world: World, backend: Backend) -> list[str]:
    """Return every promise that a run has broken, of those that show at its end."""
    history = history_of(world, backend)
    return [
        *faults(history, further_records=backend.further_records),
        *_doubts_without_a_fault(world, history),
        *_answers_untold(world, history),
        *_other_verdicts(world, backend),
    ]


def _other_verdicts(world: World, backend: Backend) -> Iterator[str]:
    """Say which record tells other verdicts than were given, or has another row of facts for one."""
    rows = {(row["record_id"], row["seq"]): row["verdict"] for row in world.database.tables.facts_feedback.values()}
    told: dict[tuple[UUID, int], str] = {}
    for record_id, chain in world.database.tables.entry.items():
        given = [entry for entry in chain if entry.kind == EntryKind.FEEDBACK]
        told |= {(record_id, entry.seq): entry.content()["data"]["verdict"] for entry in given}
        if {entry.entry_id for entry in given} != backend.verdicts.get(record_id, set()):
            yield f"{record_id} tells other verdicts than it was given"
    if rows != told:
        yield "there are other rows of feedback than the entries say"


def _answers_untold(world: World, history: History) -> Iterator[str]:
    """Say which answer a process had in hand, and did not die with, that no record tells."""
    told = {
        UUID(entry.content()["data"]["claim"])
        for chain in history.chains.values()
        for entry in chain
        if entry.kind in (EntryKind.ATTEMPT_FINISHED, EntryKind.LATE_RESULT)
    }
    for claim in sorted(set().union(*world.learned) - told):
        yield f"the answer to claim {claim} came, and is in no record"


def _doubts_without_a_fault(world: World, history: History) -> Iterator[str]:
    """Say where something may be paid twice although nothing went wrong."""
    if world.trace.faults:
        return
    for record_id, chain in history.chains.items():
        if any(e.kind == EntryKind.ATTEMPT_STARTED and e.content()["data"]["may_double_pay"] for e in chain):
            yield f"{record_id} may have been paid twice although nothing went wrong"


def history_of(world: World, backend: Backend) -> History:
    """Return the history of a world at rest."""
    tables = world.database.tables
    results = [record.value or b"" for record in world.broker.everything_in(world.settings.topic(RESULTS.name))]
    tenant_keys = TenantKeys(NOBODY_TO_ASK, MASTERS)
    tenant_keys.take(row._asdict() for row in world.keys.tables.tenant_key.values())
    owners = {(key.tenant, key.key_hmac): key.record_id for key in tables.idempotency.values()}
    attempts: dict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
    for row in sorted(tables.facts_attempt.values(), key=lambda row: int(row["seq"])):
        attempts[row["record_id"]].append(row)
    entries = [entry for chain in tables.entry.values() for entry in chain]
    return History(
        tenant=TENANT,
        chains=tables.entry,
        owners={key: owners.get((TENANT, tenant_keys.key_hmac(TENANT, key))) for key in backend.keys},
        results=[value for value in results if orjson.loads(value)["event"] == "final"],
        charges=world.provider.charges,
        claims={entry.entry_id: entry.record_id for entry in entries if entry.kind == EntryKind.ATTEMPT_STARTED},
        request_facts={row["record_id"]: row for row in tables.facts_request.values()},
        attempt_facts=attempts,
        left_over=[
            *(("open", record_id) for record_id in tables.open_record),
            *(("held", record_id) for record_id in tables.held),
            *(("aside", row.record_id) for row in tables.aside.values()),
        ],
        keyless=[record_id for record_id in tables.entry if record_id not in world.keys.tables.record_key],
    )
