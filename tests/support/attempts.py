"""What an executor leaves in a record, written as it writes it, without one: claims, answers, holds, late answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import orjson

from schemas.codes import EntryKind, ErrorCode, HeldReason, Status
from schemas.entries import AttemptFinished, AttemptStarted, Held, LateResult, Usage, Validated
from services.runtime import ledger, queries, vault
from services.runtime.host import Host
from services.runtime.ids import derive, new_claim_id, now
from services.runtime.kafka import Outgoing
from services.runtime.ledger import ChainWriter, Entry
from support.flow import chain_of

_SQL = queries.load("executor")
_LEASE = queries.load("lease")
USAGE: Final = Usage(input_tokens=1200, cached_input_tokens=200, output_tokens=34, reasoning_tokens=5)
COST: Final = "0.000135600000000001"
LATENCY_MS: Final = 412
SENT: Final = orjson.dumps({"model": "sim-ok", "messages": [{"role": "user", "content": "as it was sent"}]})


async def _append(host: Host, writer: ChainWriter, chain: list[Entry], *contents: vault.Content) -> None:
    async with host.pool.acquire() as connection:
        stored = await ledger.append(connection, [ledger.writes(writer, chain[-1].head, now())], contents)
    assert not stored, "the record is not as the test believes"


async def claimed(
    host: Host, record_id: UUID, *, worker: UUID | None = None, lasts: timedelta = timedelta(minutes=2), **data: Any
) -> Entry:
    """Append the claim of a call; ``data`` changes what it says."""
    chain = await chain_of(host, record_id)
    key = (await host.keyring.load([record_id])).get(record_id)
    decision = next(e for e in reversed(chain) if e.kind == EntryKind.DECIDED).content()["data"]["decision"]
    started = AttemptStarted(
        attempt=1 + sum(entry.kind == EntryKind.ATTEMPT_STARTED for entry in chain),
        worker=str(worker or uuid4()),
        route=decision["route"],
        layout="plain-1",
        fallback=False,
        may_double_pay=False,
        request_digest="00" * 32 if key is None else key.digest(SENT),
        max_output_tokens=100,
        worst_case_usd="0.01",
        attempt_deadline=(now() + lasts).isoformat(),
    )
    writer = ChainWriter(record_id, chain[-1].head)
    entry = writer.add(EntryKind.ATTEMPT_STARTED, {**started, **data}, now(), entry_id=new_claim_id())
    sent = [] if key is None else [key.encrypt(entry.entry_id, vault.REQUEST, SENT)]
    contents = [vault.Content(record_id, entry.entry_id, vault.REQUEST, ciphertext) for ciphertext in sent]
    await _append(host, writer, chain, *contents)
    return entry


async def finished(
    host: Host, claim: Entry, output: Mapping[str, Any] | None, *, passed: bool = True, **data: Any
) -> Entry:
    """Append what a call brought, with its output in the vault; return the last entry."""
    record_id = claim.record_id
    chain = await chain_of(host, record_id)
    entry_id = derive(record_id, EntryKind.ATTEMPT_FINISHED, str(claim.entry_id))
    answer = AttemptFinished(
        claim=str(claim.entry_id),
        attempt=claim.content()["data"]["attempt"],
        outcome="ok" if output is not None else "failed",
        failure_class=None if output is not None else "overloaded",
        http_status=200 if output is not None else 503,
        usage=USAGE if output is not None else None,
        cost_usd=COST if output is not None else "0",
        latency_ms=LATENCY_MS,
        provider_request_id=f"req-{claim.seq}",
        response_model="sim-ok",
        finish_reason="stop",
        retry_after_ms=None,
        output_digest=None,
        output_entry=None,
    )
    content = None if output is None else orjson.dumps(output)
    if content is not None:
        key = (await host.keyring.load([record_id]))[record_id]
        answer["output_digest"], answer["output_entry"] = key.digest(content), str(entry_id)
        piece = vault.Content(record_id, entry_id, vault.OUTPUT, key.encrypt(entry_id, vault.OUTPUT, content))
        async with host.pool.acquire() as connection:
            await vault.store(connection, [piece])
    writer = ChainWriter(record_id, chain[-1].head)
    writer.add(EntryKind.ATTEMPT_FINISHED, {**answer, **data}, now(), entry_id=entry_id)
    if output is not None:
        result = "pass" if passed else "fail"
        checks = Validated(
            claim=str(claim.entry_id),
            checks=[{"name": "schema", "result": result}],  # type: ignore[typeddict-item]
            passed=passed,
            safety_actions=[],
        )
        writer.add(EntryKind.VALIDATED, checks, now(), cause=str(claim.entry_id))
    await _append(host, writer, chain)
    return writer.entries[-1]


async def answered(host: Host, record_id: UUID, output: Mapping[str, Any]) -> Outgoing:
    """Let one call succeed, and return the outcome that wakes the recorder."""
    return ended(host, await finished(host, await claimed(host, record_id), output), Status.SUCCEEDED)


def ended(host: Host, last: Entry, status: Status, code: ErrorCode | None = None, tenant: str = "acme") -> Outgoing:
    """Return the outcome that ends a record after ``last``."""
    return host.wakeups.end(tenant, last, status, code)


async def held(
    host: Host,
    record_id: UUID,
    *,
    due: timedelta | None = None,
    deadline: timedelta = timedelta(hours=1),
    claim: Entry | None = None,
) -> Entry:
    """Hold a record; ``due`` and ``deadline`` count from now."""
    chain = await chain_of(host, record_id)
    moment = now()
    data = Held(
        reason=HeldReason.IN_DOUBT,
        due=None if due is None else (moment + due).isoformat(),
        claim=None if claim is None else str(claim.entry_id),
    )
    writer = ChainWriter(record_id, chain[-1].head)
    entry = writer.add(EntryKind.HELD, data, moment)
    await _append(host, writer, chain)
    await host.pool.execute(
        _SQL["hold"],
        [record_id],
        [entry.seq],
        ["acme"],
        [HeldReason.IN_DOUBT],
        [None if due is None else moment + due],
        [moment + deadline],
    )
    return entry


async def put_aside(host: Host, claim: Entry, **data: Any) -> UUID:
    """Put a fenced worker's answer aside; return the id that its entry will have."""
    started = claim.content()["data"]
    entry_id = derive(claim.record_id, EntryKind.LATE_RESULT, str(claim.entry_id))
    late = LateResult(
        claim=str(claim.entry_id),
        attempt=started["attempt"],
        outcome="ok",
        failure_class=None,
        usage=USAGE,
        cost_usd=COST,
        latency_ms=LATENCY_MS,
        provider_request_id="req-late",
        worker=started["worker"],
        route=started["route"],
    )
    text = orjson.dumps({**late, **data}).decode()
    await host.pool.execute(_SQL["put_aside"], claim.record_id, entry_id, EntryKind.LATE_RESULT, text)
    return entry_id


async def lease(host: Host, worker: UUID, lasts: timedelta) -> None:
    """Take a lease for a worker; a negative time makes one that has expired."""
    await host.pool.execute(_LEASE["renew"], worker, "elsewhere", lasts)
