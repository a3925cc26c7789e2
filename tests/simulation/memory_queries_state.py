"""The named queries of who works and what waits: leases, held rows, what lies aside, open records, and upkeep.

Each function is registered under its query's file and name, and takes the scope and the query's own parameters. Where
SQL leaves the order of rows open, they come in the order of the tables or of the arguments: one that Postgres may give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import repeat
from uuid import UUID

import asyncpg

from simulation.memory_registry import Answer, Scope, reads, writes
from simulation.memory_tables import AsideRow, Held, LeaseRow, Texts, Uuids, deleted, found, insert

VERDICTS = frozenset({"retry", "charged", "not_charged"})
KEYS_LIVE = timedelta(days=30)
LEASES_LINGER = timedelta(days=1)

# -- lease ------------------------------------------------------------------------------------------------------------


@writes("lease.renew")
def renew(scope: Scope, worker: UUID, host: str, seconds: timedelta) -> Answer:
    expires_at = scope.clock() + seconds
    row = scope.tables.lease.get(worker) or LeaseRow(worker, host, scope.now, expires_at)
    scope.tables.lease[worker] = row._replace(expires_at=expires_at)
    return None


@writes("lease.release")
def release(scope: Scope, worker: UUID) -> Answer:
    scope.tables.lease.pop(worker, None)
    return None


@reads("lease.alive", "worker")
def alive(scope: Scope, workers: Uuids) -> Answer:
    at = scope.clock()
    return [(row.worker,) for row in found(scope.tables.lease, workers) if row.expires_at > at]


@writes("lease.sweep")
def sweep(scope: Scope) -> Answer:
    before = scope.clock() - LEASES_LINGER
    deleted(scope.tables.lease, [row.worker for row in scope.tables.lease.values() if row.expires_at < before])
    return None


# -- router -----------------------------------------------------------------------------------------------------------


@reads("router.cancelled", "record_id")
def cancelled(scope: Scope, records: Uuids) -> Answer:
    wanted = set(records)
    keys = scope.tables.idempotency.values()
    return [(key.record_id,) for key in keys if key.cancelled_at is not None and key.record_id in wanted]


@writes("router.lock_due", "record_id seq actor cause")
def lock_due(scope: Scope, limit: int) -> Answer:
    by_age = sorted(scope.tables.held.values(), key=lambda row: row.held_at)
    due = ((row, cause) for row in by_age for cause in _causes(scope, row))
    return [(row.record_id, row.seq, row.actor, cause) for row, cause in list(due)[:limit]]


def _causes(scope: Scope, row: Held) -> Iterator[str]:
    """Give why a held row may go on."""
    if row.verdict is not None:
        yield row.verdict
    elif scope.tables.is_cancelled(row.record_id):
        yield "cancelled"
    elif row.record_id in scope.tables.erasure:
        yield "erased"
    elif row.deadline <= scope.now:
        yield "expired"
    elif row.due is not None and row.due <= scope.now:
        yield "due"


@writes("router.delete_held")
def delete_held(scope: Scope, records: Uuids) -> Answer:
    deleted(scope.tables.held, records)
    return None


# -- executor ---------------------------------------------------------------------------------------------------------


@reads("executor.read_jobs", "record_id ciphertext cancelled")
def read_jobs(scope: Scope, records: Uuids, entries: Uuids) -> Answer:
    tables = scope.tables
    return [
        (record_id, tables.content_of((record_id, entry_id, "job")), tables.is_cancelled(record_id))
        for record_id, entry_id in zip(records, entries, strict=True)
    ]


@writes("executor.hold")
def hold(
    scope: Scope,
    records: Uuids,
    seqs: Sequence[int],
    tenants: Texts,
    reasons: Texts,
    dues: Sequence[datetime | None],
    deadlines: Sequence[datetime],
) -> Answer:
    for row in map(Held, records, seqs, tenants, reasons, dues, deadlines, repeat(scope.now)):
        insert(scope.tables.held, row.record_id, row)
    return None


@writes("executor.put_aside")
def put_aside(scope: Scope, record_id: UUID, entry_id: UUID, kind: str, data: str) -> Answer:
    scope.tables.aside.setdefault((record_id, entry_id), AsideRow(record_id, entry_id, kind, data, scope.now))
    return None


# -- recorder ---------------------------------------------------------------------------------------------------------


@writes("recorder.close_records")
def close_records(scope: Scope, records: Uuids) -> Answer:
    deleted(scope.tables.open_record, records)
    return None


@writes("recorder.lock_aside", "record_id entry_id kind data")
def lock_aside(scope: Scope, limit: int, given_up: Uuids) -> Answer:
    rows = [row for row in scope.tables.aside.values() if scope.tables.is_sealed(row.record_id)]
    rows = sorted((row for row in rows if row.entry_id not in given_up), key=lambda row: row.put_at)
    return [(row.record_id, row.entry_id, row.kind, row.data) for row in rows[:limit]]


@writes("recorder.delete_aside")
def delete_aside(scope: Scope, record_id: UUID, entry_id: UUID) -> Answer:
    scope.tables.aside.pop((record_id, entry_id), None)
    return None


@reads("recorder.any_silent", "exists")
def any_silent(scope: Scope) -> Answer:
    return [(any(row.next_sweep_at <= scope.now for row in scope.tables.open_record.values()),)]


@writes("recorder.lock_silent", "record_id sweeps")
def lock_silent(scope: Scope, limit: int) -> Answer:
    silent = [row for row in scope.tables.open_record.values() if row.next_sweep_at <= scope.now]
    return [(row.record_id, row.sweeps) for row in sorted(silent, key=lambda row: row.next_sweep_at)[:limit]]


@writes("recorder.swept")
def swept(scope: Scope, records: Uuids, waits: Sequence[timedelta], woken: Sequence[bool]) -> Answer:
    table = scope.tables.open_record
    for record_id, wait, was_woken in zip(records, waits, woken, strict=True):
        if row := table.get(record_id):
            table[record_id] = row._replace(next_sweep_at=scope.now + wait, sweeps=row.sweeps + was_woken)
    return None


@reads("recorder.without_record", "record_id")
def without_record(scope: Scope, records: Uuids) -> Answer:
    return [(record_id,) for record_id in records if record_id not in scope.tables.entry]


@writes("recorder.forget_keys")
def forget_keys(scope: Scope) -> Answer:
    table, before = scope.tables.idempotency, scope.now - KEYS_LIVE
    deleted(table, [key for key, row in table.items() if row.seen_at < before])
    return None


# -- people and upkeep ------------------------------------------------------------------------------------------------


@writes("cli_records.set_verdict", "record_id")
def set_verdict(scope: Scope, record_id: UUID, seq: int, verdict: str) -> Answer:
    row = scope.tables.held.get(record_id)
    if row is None or row.seq != seq or row.verdict is not None:
        return None
    if verdict not in VERDICTS:
        raise asyncpg.CheckViolationError("new row violates check constraint on a verdict")
    scope.tables.held[record_id] = row._replace(verdict=verdict, actor=scope.user)
    return [(record_id,)]


@writes("cli_cancel.cancel_records", "record_id")
def cancel_records(scope: Scope, records: Uuids) -> Answer:
    table = scope.tables.idempotency
    wanted = set(records)
    cancelled = [
        key
        for key, row in table.items()
        if row.record_id in wanted and row.cancelled_at is None and not scope.tables.is_sealed(row.record_id)
    ]
    for key in cancelled:
        table[key] = table[key]._replace(cancelled_at=scope.now)
    return [(table[key].record_id,) for key in cancelled]


@reads("host.ping", "?column?")
def ping(scope: Scope) -> Answer:
    return [(1,)]


@reads("migrate.ensure_partitions", "ensure_partitions")
def ensure_partitions(scope: Scope, month: object, months: int) -> Answer:
    """Make none: what is in memory has no partitions that could be missing."""
    return [(0,)]


@reads("migrate.default_partition_rows", "exists")
def default_partition_rows(scope: Scope) -> Answer:
    return [(False,)]


@reads("tenants.in_force", "seq content")
def in_force(scope: Scope, seen: int) -> Answer:
    """Return nothing: in memory nobody is a tenant."""
    return []
