"""The router's stage: one slice of classified records is decided, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from schemas.codes import EntryKind, ErrorCode, Status
from schemas.decision import Decision, NoRoute
from schemas.messages import Classified, Head
from services.policy import Policy
from services.runtime import ledger, queries
from services.runtime.host import Host
from services.runtime.kafka import Outgoing
from services.runtime.ledger import ChainWriter, Entry
from services.runtime.microbatch import UnreadableError
from services.runtime.wakeup import Wakeups

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
        # Several messages of one record are redeliveries of the same one; an append takes one chain a record.
        messages = {message.record_id: message for message in items}
        cancelled = await self._cancelled(list(messages))
        outgoing: list[Outgoing] = []
        writers: dict[UUID, ChainWriter] = {}
        for message in messages.values():
            if message.record_id in cancelled:
                outgoing.append(self._end(message, Status.CANCELLED, ErrorCode.CANCELLED))
            elif message.deadline <= now:
                outgoing.append(self._end(message, Status.EXPIRED, ErrorCode.DEADLINE_PASSED))
            else:
                writer = writers[message.record_id] = ChainWriter(message.record_id, message.head)
                writer.add(EntryKind.DECIDED, decided(self._policy.decide(message.features)), now)
        if writers:
            stored = await self._append([ledger.writes(w, messages[r].head, now) for r, w in writers.items()])
            for record_id, writer in writers.items():
                entries = writer.entries if record_id not in stored else stored[record_id][:1]
                outgoing += self._wake(messages[record_id], entries)
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

    def _wake(self, message: Classified, entries: Sequence[Entry]) -> list[Outgoing]:
        """Return what the decided entry calls for, stored now or earlier; a stale head wakes nobody."""
        if not entries or entries[0].kind != EntryKind.DECIDED:
            return []
        return [
            wake_decided(
                self._host.wakeups,
                entries[0],
                tenant=message.tenant,
                latency_class=message.latency_class,
                received_at=message.received_at,
                deadline=message.deadline,
                resume=False,
            )
        ]

    def _end(self, message: Classified, status: Status, code: ErrorCode) -> Outgoing:
        head: Head = message.head
        return self._host.wakeups.outcome(message.record_id, message.tenant, head.seq, head.hash, status, code)


def decided(decision: Decision | NoRoute) -> dict[str, Any]:
    """Return the data of a ``decided`` entry; where nothing is eligible, the decision's route is null."""
    content = decision.model_dump(mode="json")
    if isinstance(decision, NoRoute):
        content["route"] = None
    return {"decision": content}


def wake_decided(
    wakeups: Wakeups, entry: Entry, *, tenant: str, latency_class: str, received_at: Any, deadline: Any, resume: bool
) -> Outgoing:
    """Return the message that a ``decided`` entry calls for: to the executor, or to the recorder without a route."""
    decision = entry.content()["data"]["decision"]
    if decision["route"] is None:
        return wakeups.end(tenant, entry, Status.REJECTED, ErrorCode(decision["reasons"][0]["code"]))
    return wakeups.routed(
        tenant=tenant,
        latency_class=latency_class,
        received_at=received_at,
        deadline=deadline,
        head=entry,
        decision=decision,
        resume=resume,
    )
