"""Erasure at intake: jobs of subjects that were erased are refused, and so are replays of erased records.

A refused job gets a record and a result, and none of its content is kept: no key is made. What is taken in is put down
under its subject, and under the record it replays, so that a later erasure finds it. An erasure that commits meanwhile
either sees what this transaction stored or is seen here: the list is read in a statement after the first that wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from schemas.codes import ErrorCode
from services.classifier.arrival import Arrival
from services.classifier.intake import Fault
from services.runtime import erasure, queries
from services.runtime.erasure import Refusal
from services.runtime.postgres import Connection
from services.runtime.tenant_keys import TenantKeys

_SQL = queries.load("erasure")
_KEPT = ("latency_class", "operation")


async def refused(connection: Connection, arrivals: Sequence[Arrival], keys: TenantKeys) -> list[Arrival]:
    """Return the arrivals, those refused without their content; the transaction must have written before."""
    subjects = _subjects(arrivals, keys)
    refusals = await _refusals(connection, sorted(set(subjects.values())))
    originals = await erasure.erased(connection, [a.replay_of for a in arrivals if a.replay_of is not None])
    return [
        without_content(a) if is_refused(a, refusals.get(subjects.get(a.record_id, ("", b""))), originals) else a
        for a in arrivals
    ]


def is_refused(arrival: Arrival, refusal: Refusal | None, erased_originals: set[UUID]) -> bool:
    """Whether an arrival brings back what was erased."""
    return arrival.replay_of in erased_originals or (refusal is not None and refusal.refuses(arrival.published_at))


def without_content(arrival: Arrival) -> Arrival:
    """Return the rejection of an arrival: of its content only what tells which kind of job it was."""
    job, document = arrival.job, arrival.document
    kept = {name: getattr(job, name) if job else document.get(name) for name in _KEPT}
    field = "subject" if arrival.replay_of is None else "record_id"
    return replace(
        arrival,
        content=b"",
        job=None,
        document=kept,
        classification=None,
        redacted=None,
        fault=Fault(ErrorCode.CONTENT_ERASED, field),
        conflict_with=None,
    )


async def remember(connection: Connection, arrivals: Sequence[Arrival], keys: TenantKeys) -> None:
    """Put down whose content these new records hold, and which records they run again."""
    subjects = _subjects(arrivals, keys)
    if subjects:
        columns = [tenant for tenant, _ in subjects.values()], [digest for _, digest in subjects.values()]
        await connection.execute(_SQL["remember_subjects"], *columns, list(subjects))
    replays = [(a.record_id, a.replay_of) for a in arrivals if a.replay_of is not None]
    if replays:
        await connection.execute(_SQL["remember_replays"], [r for r, _ in replays], [of for _, of in replays])


def _subjects(arrivals: Sequence[Arrival], keys: TenantKeys) -> dict[UUID, tuple[str, bytes]]:
    return {a.record_id: (a.tenant, erasure.subject_hmac(keys, a.tenant, a.subject)) for a in arrivals if a.subject}


async def _refusals(connection: Connection, subjects: Sequence[tuple[str, bytes]]) -> dict[tuple[str, bytes], Refusal]:
    if not subjects:
        return {}
    columns = [tenant for tenant, _ in subjects], [digest for _, digest in subjects]
    rows = await connection.fetch(_SQL["refused_subjects"], *columns)
    return {(row["tenant"], row["subject_hmac"]): Refusal(row["erased_at"], row["refused_now"]) for row in rows}
