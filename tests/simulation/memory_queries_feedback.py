"""The named queries of feedback: whose record is meant, what it was given already, and what is put aside for it.

Each function is registered under its query's file and name, and takes the scope and the query's own parameters.
"""

from __future__ import annotations

from simulation.memory_registry import Answer, Scope, reads, writes
from simulation.memory_tables import AsideRow, Bytes, Texts, Uuids


@reads("feedback.records_of_keys", "tenant key_hmac record_id")
def records_of_keys(scope: Scope, tenants: Texts, keys: Bytes) -> Answer:
    stored = (scope.tables.idempotency.get(wanted) for wanted in zip(tenants, keys, strict=True))
    return [(key.tenant, key.key_hmac, key.record_id) for key in stored if key and key.record_id]


@writes("feedback.take_turns")
def take_turns(scope: Scope) -> Answer:
    """Do nothing: who writes in memory has the one lock until its transaction ends."""
    return None


@reads("feedback.given", "record_id tenant given")
def given(scope: Scope, records: Uuids) -> Answer:
    rows = []
    for record_id in dict.fromkeys(records):
        if chain := scope.tables.entry.get(record_id):
            aside = [row for row in scope.tables.aside.values() if row.record_id == record_id]
            found = {row.entry_id for row in (*chain, *aside) if row.kind == "feedback"}
            rows.append((record_id, chain[0].content()["data"].get("tenant"), sorted(found)))
    return rows


@writes("feedback.put_aside")
def put_aside(scope: Scope, records: Uuids, entries: Uuids, kind: str, data: Texts) -> Answer:
    for record_id, entry_id, text in zip(records, entries, data, strict=True):
        scope.tables.aside.setdefault((record_id, entry_id), AsideRow(record_id, entry_id, kind, text, scope.now))
    return None
