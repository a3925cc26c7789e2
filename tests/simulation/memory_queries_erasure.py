"""The named queries of erasure: what is refused, what is on the list, and what becomes of it.

A horizon is passed as soon as it is set: one write lock means that no writer is under way while another statement
writes. That an erasure waits for transactions in flight has to be tested on Postgres.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from simulation.memory_registry import Answer, Scope, reads, writes
from simulation.memory_tables import (
    AsideRow,
    Bytes,
    ErasedSubject,
    Erasure,
    Tables,
    Texts,
    Uuids,
    deleted,
    found,
    insert,
)

# -- intake -----------------------------------------------------------------------------------------------------------


@reads("erasure.refused_subjects", "tenant subject_hmac erased_at refused_now")
def refused_subjects(scope: Scope, tenants: Texts, subjects: Bytes) -> Answer:
    rows = found(scope.tables.erased_subject, zip(tenants, subjects, strict=True))
    return [(row.tenant, row.subject_hmac, row.erased_at, scope.clock() < row.refuse_until) for row in rows]


@reads("erasure.erased", "record_id")
def erased(scope: Scope, records: Uuids) -> Answer:
    return [(row.record_id,) for row in found(scope.tables.erasure, records)]


@writes("erasure.remember_subjects")
def remember_subjects(scope: Scope, tenants: Texts, subjects: Bytes, records: Uuids) -> Answer:
    for key in zip(tenants, subjects, records, strict=True):
        insert(scope.tables.subject, key, None)
    return None


@writes("erasure.remember_replays")
def remember_replays(scope: Scope, records: Uuids, originals: Uuids) -> Answer:
    for record_id, original in zip(records, originals, strict=True):
        insert(scope.tables.replay, record_id, original)
    return None


# -- people -----------------------------------------------------------------------------------------------------------


@writes("cli_erasure.ask", "record_id state")
def ask(scope: Scope, request: UUID, records: Uuids, reason: str) -> Answer:
    return _erase(scope, request, records, "record", reason, scope.user)


@writes("cli_erasure.ask_subject", "record_id state")
def ask_subject(
    scope: Scope,
    request: UUID,
    tenant: str,
    subject: bytes,
    reason: str,
    erased_at: datetime,
    refuse_until: datetime,
) -> Answer:
    table, key = scope.tables.erased_subject, (tenant, subject)
    before = table.get(key)
    if before is not None:
        erased_at, refuse_until = max(erased_at, before.erased_at), max(refuse_until, before.refuse_until)
    table[key] = ErasedSubject(tenant, subject, erased_at, refuse_until, reason, scope.user, request)
    return _erase(scope, request, _records_of(scope.tables, key), "subject", reason, scope.user)


# -- recorder ---------------------------------------------------------------------------------------------------------


@reads("erasure.waiting", "seconds")
def waiting(scope: Scope) -> Answer:
    tables = scope.tables
    since = [row.erased_at for row in tables.erased_subject.values() if row.request is not None]
    since += [row.asked_at for row in tables.erasure.values() if row.done_at is None]
    return [((scope.clock() - min(since)).total_seconds() if since else None,)]


@writes("erasure.set_horizons")
def set_horizons(scope: Scope) -> Answer:
    table = scope.tables.erasure
    for row in [row for row in table.values() if row.done_at is None]:
        table[row.record_id] = row._replace(horizon=True)
    return None


@writes("erasure.set_subject_horizons")
def set_subject_horizons(scope: Scope) -> Answer:
    table = scope.tables.erased_subject
    for key, row in [(key, row) for key, row in table.items() if row.request is not None]:
        table[key] = row._replace(horizon=True)
    return None


@reads("erasure.subjects_due", "tenant subject_hmac erased_at refuse_until reason actor request")
def subjects_due(scope: Scope, limit: int) -> Answer:
    rows = [row for row in scope.tables.erased_subject.values() if row.request is not None and row.horizon]
    return [row[:7] for row in sorted(rows, key=lambda row: row.erased_at)[:limit]]


@writes("erasure.find_records", "record_id")
def find_records(scope: Scope, tenant: str, subject: bytes, request: UUID, reason: str, actor: str) -> Answer:
    records = _records_of(scope.tables, (tenant, subject))
    return [(record_id,) for record_id, _ in _erase(scope, request, records, "subject", reason, actor)]


@writes("erasure.found_records")
def found_records(scope: Scope, tenant: str, subject: bytes, request: UUID) -> Answer:
    table, key = scope.tables.erased_subject, (tenant, subject)
    if key in table and table[key].request == request:
        table[key] = table[key]._replace(request=None, horizon=False)
    return None


@reads("erasure.due", "record_id request tenant cause reason actor asked_at begun")
def due(scope: Scope, limit: int) -> Answer:
    rows = [row for row in scope.tables.erasure.values() if row.done_at is None and row.horizon]
    rows = sorted(rows, key=lambda row: row.asked_at)[:limit]
    return [(*row[:7], row.begun_at is not None) for row in rows]


@writes("erasure.find_replays", "record_id")
def find_replays(scope: Scope, request: UUID, records: Uuids, reason: str, actor: str) -> Answer:
    return [(record_id,) for record_id, _ in _erase(scope, request, records, "replay", reason, actor)]


@writes("erasure.begin", "record_id")
def begin(scope: Scope, records: Uuids) -> Answer:
    rows = [row for row in found(scope.tables.erasure, records) if row.begun_at is None]
    for row in rows:
        scope.tables.erasure[row.record_id] = row._replace(begun_at=scope.clock())
    return [(row.record_id,) for row in rows]


@writes("erasure.put_aside")
def put_aside(scope: Scope, records: Uuids, entries: Uuids, data: Texts) -> Answer:
    for record_id, entry_id, text in zip(records, entries, data, strict=True):
        row = AsideRow(record_id, entry_id, "erased", text, scope.now)
        scope.tables.aside.setdefault((record_id, entry_id), row)
    return None


@writes("erasure.delete_content")
def delete_content(scope: Scope, records: Uuids) -> Answer:
    wanted = set(records)
    deleted(scope.tables.content, [key for key in scope.tables.content if key[0] in wanted])
    return None


@writes("erasure.forget_subjects")
def forget_subjects(scope: Scope, records: Uuids) -> Answer:
    wanted = set(records)
    deleted(scope.tables.subject, [key for key in scope.tables.subject if key[2] in wanted])
    return None


@writes("erasure.finish")
def finish(scope: Scope, records: Uuids) -> Answer:
    for row in [row for row in found(scope.tables.erasure, records) if row.done_at is None]:
        scope.tables.erasure[row.record_id] = row._replace(done_at=scope.clock())
    return None


@reads("erasure.sealed_before", "record_id tenant data_class sealed_at")
def sealed_before(scope: Scope, after: datetime, after_id: UUID, before: datetime, limit: int) -> Answer:
    facts = scope.tables.facts_request.values()
    rows = sorted((fact["sealed_at"], fact["record_id"].int, fact) for fact in facts if fact["sealed_at"] < before)
    left = [fact for at, record_id, fact in rows if (at, record_id) > (after, after_id.int)]
    return [(f["record_id"], f["tenant"], f["data_class"], f["sealed_at"]) for f in left[:limit]]


@writes("erasure.retire", "record_id")
def retire(scope: Scope, request: UUID, records: Uuids, tenants: Texts) -> Answer:
    new = [(r, tenant) for r, tenant in zip(records, tenants, strict=True) if r not in scope.tables.erasure]
    for record_id, tenant in new:
        row = Erasure(record_id, request, tenant, "retention", "retention", scope.user, scope.clock())
        scope.tables.erasure[record_id] = row
    return [(record_id,) for record_id, _ in new]


def _erase(
    scope: Scope, request: UUID, records: Iterable[UUID], cause: str, reason: str, actor: str
) -> Sequence[tuple[UUID, str]]:
    tables, named = scope.tables, set(records)
    answer: list[tuple[UUID, str]] = []
    for record_id in _family(tables, named):
        stands, chain = tables.erasure.get(record_id), tables.entry.get(record_id)
        state = "unknown" if chain is None else "erased_before" if stands and stands.done_at else "asked"
        answer.append((record_id, state))
        if chain is not None and stands is None:
            tenant = chain[0].content()["data"]["tenant"]
            why = cause if record_id in named else "replay"
            tables.erasure[record_id] = Erasure(record_id, request, tenant, why, reason, actor, scope.clock())
    return answer


def _family(tables: Tables, records: Iterable[UUID]) -> list[UUID]:
    family, waiting = dict.fromkeys(records), list(records)
    while waiting:
        record_id = waiting.pop()
        near = [replay for replay, original in tables.replay.items() if original == record_id]
        near += [tables.replay[record_id]] if record_id in tables.replay else []
        for relative in near:
            if relative not in family:
                family[relative] = None
                waiting.append(relative)
    return list(family)


def _records_of(tables: Tables, subject: tuple[str, bytes]) -> list[UUID]:
    return [record_id for tenant, digest, record_id in tables.subject if (tenant, digest) == subject]
