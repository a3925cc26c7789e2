"""The router's stage: one slice of classified records is decided, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from schemas.codes import EntryKind, ErrorCode, Status
from schemas.decision import Decision, NoRoute
from schemas.messages import Classified, Head
from services.policy import Policy, TenantLimits
from services.runtime import ledger, queries
from services.runtime.host import Host
from services.runtime.kafka import Outgoing
from services.runtime.ledger import ChainWriter, Entry
from services.runtime.microbatch import UnreadableError
from services.tenancy import Tenants

_SQL = queries.load("router")


class RouterStage:
    """Decides micro-batches of classified records."""

    def __init__(self, host: Host, policy: Policy, clock: Callable[[], datetime]) -> None:
        """Take the host's parts, the policy to decide by, and the clock that entries carry."""
        self._host = host
        self._policy = policy
        self._clock = clock

    def read(self, record: ConsumerRecord[bytes, bytes]) -> Classified:
        """Return the record's message; raises :class:`UnreadableError`."""
        try:
            return Classified.model_validate_json(record.value or b"")
        except ValidationError:
            raise UnreadableError(ErrorCode.INVALID_MESSAGE, "not a classified message of this release") from None

    async def run(self, items: Sequence[Classified]) -> Sequence[Outgoing]:
        """Decide one slice."""
        now = self._clock()
        tenants = self._host.tenants.current
        # Several messages of one record are redeliveries of the same one; an append takes one chain a record.
        messages = {message.record_id: message for message in items}
        cancelled = await self._cancelled(list(messages))
        outgoing: list[Outgoing] = []
        writers: dict[UUID, ChainWriter] = {}
        data: dict[UUID, dict[str, Any]] = {}
        for message in messages.values():
            if message.record_id in cancelled:
                outgoing.append(self._end(message, Status.CANCELLED, ErrorCode.CANCELLED))
            elif message.deadline <= now:
                outgoing.append(self._end(message, Status.EXPIRED, ErrorCode.DEADLINE_PASSED))
            else:
                writer = writers[message.record_id] = ChainWriter(message.record_id, message.head)
                data[message.record_id] = decided(
                    self._policy.decide(message.features, limits_of(tenants, message.tenant))
                )
                writer.add(EntryKind.DECIDED, data[message.record_id], now)
        if writers:
            met = await self._append([ledger.writes(w, messages[r].head, now) for r, w in writers.items()])
            for record_id, writer in writers.items():
                if record_id not in met:
                    outgoing.append(self._wake(messages[record_id], writer.entries[0], data[record_id]))
                elif met[record_id] and met[record_id][0].kind == EntryKind.DECIDED:
                    entry = met[record_id][0]  # decided before: the same message once more; a stale head wakes nobody
                    outgoing.append(self._wake(messages[record_id], entry, entry.content()["data"]))
        return outgoing

    async def poisoned(self, item: Classified, error: BaseException) -> Sequence[Outgoing]:
        """End a record whose decision the database refuses."""
        return [self._end(item, Status.FAILED, ErrorCode.INTERNAL)]

    async def _cancelled(self, record_ids: Sequence[UUID]) -> set[UUID]:
        rows = await self._host.pool.fetch(_SQL["cancelled"], record_ids)
        return {row["record_id"] for row in rows}

    async def _append(self, chains: Sequence[ledger.Writes]) -> dict[UUID, list[Entry]]:
        async with self._host.pool.acquire() as connection:
            return await ledger.append(connection, chains)

    def _wake(self, message: Classified, entry: Entry, data: Mapping[str, Any]) -> Outgoing:
        """Return what a ``decided`` entry calls for: the executor, or without a route the recorder."""
        decision = data["decision"]
        if decision["route"] is None:
            code = ErrorCode(decision["reasons"][0]["code"])
            return self._host.wakeups.end(message.tenant, entry, Status.REJECTED, code)
        return self._host.wakeups.routed(
            tenant=message.tenant,
            latency_class=message.latency_class,
            received_at=message.received_at,
            deadline=message.deadline,
            head=entry,
            decision=decision,
            resume=False,
        )

    def _end(self, message: Classified, status: Status, code: ErrorCode) -> Outgoing:
        head: Head = message.head
        return self._host.wakeups.outcome(message.record_id, message.tenant, head.seq, head.hash, status, code)


def limits_of(tenants: Tenants, tenant: str) -> TenantLimits:
    """Return what was agreed with a tenant, as policy takes it."""
    found = tenants.get(tenant)
    regions = None if found is None or found.regions is None else frozenset(found.regions)
    return TenantLimits(tenants.name, regions)


def decided(decision: Decision | NoRoute) -> dict[str, Any]:
    """Return the data of a ``decided`` entry; where nothing is eligible, the decision's route is null."""
    content = decision.model_dump(mode="json")
    if isinstance(decision, NoRoute):
        content["route"] = None
    return {"decision": content}
