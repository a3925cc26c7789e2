"""The named queries of what is kept of a record: its entries, the keys of jobs, content, and record keys.

Each function is registered under its query's file and name, and takes the scope and the query's own parameters. Where
SQL leaves the order of rows open, they come in the order of the tables or of the arguments: one that Postgres may give.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from support.fence_model import Fence, Given, LateTwiceError, NoChainError, transitions_of_migrations

from services.runtime.ledger import Entry
from simulation.memory_registry import Answer, Scope, reads, writes
from simulation.memory_tables import Bytes, Key, OpenRecord, TenantKey, Texts, Uuids, WrappedKey, deleted, found, insert

TRANSITIONS = transitions_of_migrations()

# -- ledger -----------------------------------------------------------------------------------------------------------


@writes("ledger.append", "record_id seq entry_id kind body entry_hash")
def append(
    scope: Scope,
    records: Uuids,
    seqs: Sequence[int],
    ids: Uuids,
    kinds: Texts,
    versions: Sequence[int],
    bodies: Texts,
    hashes: Bytes,
    prevs: Sequence[bytes | None],
    times: Sequence[datetime],
) -> Answer:
    entries = map(Entry, records, seqs, ids, kinds, bodies, hashes)
    fence = Fence(TRANSITIONS, scope.tables.entry)
    try:
        refused = fence.append_given([Given(entry, prev) for entry, prev in zip(entries, prevs, strict=True)])
    except NoChainError as error:
        raise asyncpg.CheckViolationError(
            f"the entries given for record {error.record_id} do not form a chain"
        ) from None
    except LateTwiceError:
        raise asyncpg.UniqueViolationError("duplicate key value violates unique constraint") from None
    scope.tables.entry = fence.stored
    nothing = [None] * (len(Entry._fields) - 1)
    answer: list[Sequence[Any]] = []
    for record_id, rows in refused.items():
        answer += rows or [(record_id, *nothing)]
    return answer


@writes("ledger.append_with_content", "record_id seq entry_id kind body entry_hash")
def append_with_content(scope: Scope, *columns: Any) -> Answer:
    stored = list(append(scope, *columns[:9]) or ())
    refused = {row[0] for row in stored}
    kept = [content for content in zip(*columns[9:], strict=True) if content[0] not in refused]
    if kept:
        store(scope, *zip(*kept, strict=True))
    return stored


@reads("ledger.read_chains", "record_id seq entry_id kind body entry_hash")
def read_chains(scope: Scope, records: Uuids) -> Answer:
    wanted = sorted(records, key=lambda record_id: record_id.int)
    return [entry for record_id in wanted for entry in scope.tables.entry.get(record_id, ())]


# -- intake -----------------------------------------------------------------------------------------------------------


@writes("intake.claim_keys", "tenant key_hmac cancelled_at")
def claim_keys(scope: Scope, tenants: Texts, keys: Bytes, payloads: Bytes, records: Uuids) -> Answer:
    table = scope.tables.idempotency
    claimed: dict[tuple[str, bytes], Key] = {}
    for tenant, key, payload, record_id in zip(tenants, keys, payloads, records, strict=True):
        _require_once(claimed, (tenant, key))
        stored = table.get((tenant, key)) or Key(tenant, key, None, None, None, scope.now)
        if stored.record_id is None:
            claimed[tenant, key] = table[tenant, key] = stored._replace(payload_hmac=payload, record_id=record_id)
    return [(key.tenant, key.key_hmac, key.cancelled_at) for key in claimed.values()]


@reads("intake.read_keys", "tenant key_hmac payload_hmac record_id")
def read_keys(scope: Scope, tenants: Texts, keys: Bytes) -> Answer:
    stored = (scope.tables.idempotency.get(wanted) for wanted in zip(tenants, keys, strict=True))
    return [(key.tenant, key.key_hmac, key.payload_hmac, key.record_id) for key in stored if key]


@writes("intake.cancel_keys")
def cancel_keys(scope: Scope, tenants: Texts, keys: Bytes) -> Answer:
    table = scope.tables.idempotency
    cancelled: dict[tuple[str, bytes], Key] = {}
    for tenant, key in zip(tenants, keys, strict=True):
        _require_once(cancelled, (tenant, key))
        stored = table.get((tenant, key)) or Key(tenant, key, None, None, None, scope.now)
        cancelled[tenant, key] = table[tenant, key] = stored._replace(cancelled_at=scope.now)
    return None


@writes("intake.repoint_keys")
def repoint_keys(scope: Scope, tenants: Texts, keys: Bytes, originals: Uuids, records: Uuids) -> Answer:
    table = scope.tables.idempotency
    before = dict(table)
    for tenant, key, original, record_id in zip(tenants, keys, originals, records, strict=True):
        stored = before.get((tenant, key))
        if stored is not None and stored.record_id == original:
            cancelled_at = stored.cancelled_at if stored.cancelled_at == scope.now else None
            table[tenant, key] = stored._replace(record_id=record_id, cancelled_at=cancelled_at)
    return None


@writes("intake.open_records")
def open_records(scope: Scope, records: Uuids, tenants: Texts, after: timedelta) -> Answer:
    for record_id, tenant in zip(records, tenants, strict=True):
        insert(scope.tables.open_record, record_id, OpenRecord(record_id, tenant, 0, scope.now + after))
    return None


def _require_once(done: Iterable[tuple[str, bytes]], key: tuple[str, bytes]) -> None:
    if key in done:
        raise asyncpg.CardinalityViolationError("ON CONFLICT DO UPDATE command cannot affect row a second time")


# -- vault and keyring ------------------------------------------------------------------------------------------------


@writes("vault.store")
def store(scope: Scope, records: Uuids, entries: Uuids, kinds: Texts, ciphertexts: Bytes) -> Answer:
    for key, ciphertext in zip(zip(records, entries, kinds, strict=True), ciphertexts, strict=True):
        if key[0] not in scope.tables.erasure:
            scope.tables.content.setdefault(key, ciphertext)
    return None


@reads("vault.load", "record_id entry_id kind ciphertext")
def load(scope: Scope, records: Uuids, entries: Uuids, kinds: Texts) -> Answer:
    wanted = zip(records, entries, kinds, strict=True)
    return [(*key, found) for key in wanted if (found := scope.tables.content_of(key)) is not None]


@writes("keyring.create")
def create_keys(scope: Scope, records: Uuids, wrapped: Bytes, master_key: str) -> Answer:
    for record_id, secret in zip(records, wrapped, strict=True):
        insert(scope.tables.record_key, record_id, WrappedKey(record_id, secret, master_key))
    return None


@reads("keyring.load", "record_id wrapped master_key")
def load_keys(scope: Scope, records: Uuids) -> Answer:
    return found(scope.tables.record_key, records)


@writes("keyring.delete", "record_id")
def delete_keys(scope: Scope, records: Uuids) -> Answer:
    return [(row.record_id,) for row in deleted(scope.tables.record_key, records)]


@reads("keyring.between", "record_id")
def keys_between(scope: Scope, after: UUID, before: UUID, limit: int) -> Answer:
    between = (r for r in scope.tables.record_key if after.int < r.int < before.int)
    return [(record_id,) for record_id in sorted(between, key=lambda r: r.int)[:limit]]


@reads("keyring.load_tenant_keys", "tenant wrapped master_key")
def load_tenant_keys(scope: Scope, tenants: Texts) -> Answer:
    return found(scope.tables.tenant_key, tenants)


@writes("keyring.create_tenant_keys")
def create_tenant_keys(scope: Scope, tenants: Texts, wrapped: Bytes, master_key: str) -> Answer:
    for tenant, secret in zip(tenants, wrapped, strict=True):
        scope.tables.tenant_key.setdefault(tenant, TenantKey(tenant, secret, master_key))
    return None


@reads("keyring.tenant_key_for_people", "tenant wrapped master_key")
def tenant_key_for_people(scope: Scope, tenant: str) -> Answer:
    return found(scope.tables.tenant_key, [tenant])


@reads("keyring.record_key_for_people", "record_id wrapped master_key")
def record_key_for_people(scope: Scope, record_id: UUID) -> Answer:
    return found(scope.tables.record_key, [record_id])
