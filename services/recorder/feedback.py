"""Taking feedback in: people's verdicts on answers, put aside for their records.

States of a verdict: published, aside (the record may still be open), an entry behind the seal with its row of facts. It
is known by what it says of which record, wherever it stood: published or delivered again it adds nothing, and another
verdict on the same answer is another entry. Authority: only the tenant that a message is bound to, and only on records
of that tenant. How it fails: what cannot be read, is not the tenant's or names no record of it becomes a dead letter;
whether somebody else has such a record is never told. A record takes :data:`MAX_PER_RECORD` verdicts, the rest is
dropped and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson
from aiokafka import ConsumerRecord
from pydantic import ValidationError

from schemas.codes import EntryKind, ErrorCode
from schemas.entries import FeedbackData
from schemas.feedback import Feedback
from services.runtime import queries
from services.runtime.binding import Binder
from services.runtime.host import Host
from services.runtime.ids import derive
from services.runtime.kafka import Outgoing
from services.runtime.microbatch import UnreadableError, dead_letter, refusal_of
from services.runtime.postgres import Connection
from services.tenancy import Bound, Refusal

_SQL = queries.load("feedback")
MAX_PER_RECORD: Final = 32
"""A chain is read whole whenever something is added to it: people change their minds, machines must not lengthen it."""
NO_RECORD: Final = "the tenant has no such record"
NOT_ITS_TENANT: Final = "the tenant named is not the one that the topic or key is bound to"


@dataclass(frozen=True, slots=True)
class Item:
    """One message, what it says, and whose it is."""

    record: ConsumerRecord[bytes, bytes]
    feedback: Feedback
    bound: Bound | Refusal


class FeedbackStage:
    """Puts micro-batches of feedback aside."""

    def __init__(self, host: Host) -> None:
        """Take the host's parts."""
        self._host = host
        self._binder = Binder(host.settings, host.tenants)

    def read(self, record: ConsumerRecord[bytes, bytes]) -> Item:
        """Return the record's message; raises :class:`UnreadableError`."""
        feedback = parse(record.value)
        return Item(record, feedback, self._binder.bind(record, feedback.tenant))

    async def run(self, items: Sequence[Item]) -> Sequence[Outgoing]:
        """Put one slice aside; return dead letters for what is nobody's, or names no record of its tenant."""
        items, outgoing = await self._bound(items)
        named = await self._records(items)
        put: list[tuple[UUID, UUID, str]] = []
        async with self._host.pool.acquire() as connection, connection.transaction():
            # One recorder at a time, or two of them would each find room for the last verdict of a record.
            await connection.execute(_SQL["take_turns"])
            given = await self._given(connection, named)
            for item, record_id in zip(items, named, strict=True):
                known = None if record_id is None else given.get((item.feedback.tenant, record_id))
                if record_id is None or known is None:
                    outgoing.append(self._refused(item, ErrorCode.INVALID_MESSAGE, NO_RECORD))
                    continue
                entry_id, data = entry_of(record_id, item.feedback)
                if entry_id in known:
                    continue
                if len(known) >= MAX_PER_RECORD:
                    self._host.telemetry.events.labels("feedback_dropped").inc()
                    continue
                known.add(entry_id)
                put.append((record_id, entry_id, orjson.dumps(data).decode()))
            if put:
                records, entries, texts = zip(*put, strict=True)
                await connection.execute(_SQL["put_aside"], records, entries, EntryKind.FEEDBACK, texts)
        self._host.telemetry.events.labels("feedback_taken").inc(len(put))
        return outgoing

    async def poisoned(self, item: Item, error: BaseException) -> Sequence[Outgoing]:
        """Keep a message that the database refuses."""
        reason = "the database refuses a value of this message"
        return [dead_letter(self._host.settings, item.record, ErrorCode.INTERNAL, reason)]

    async def _bound(self, items: Sequence[Item]) -> tuple[list[Item], list[Outgoing]]:
        """Return the items that are their tenant's, and dead letters for the others."""
        items = await self._binder.settled(items, self.read)
        bound: list[Item] = []
        refused: list[Outgoing] = []
        for item in items:
            if isinstance(item.bound, Refusal):
                refused.append(self._refused(item, ErrorCode.TENANT_MISMATCH, item.bound.reason))
            elif not item.bound.claim_holds:
                refused.append(self._refused(item, ErrorCode.TENANT_MISMATCH, NOT_ITS_TENANT))
            else:
                bound.append(item)
        return bound, refused

    async def _records(self, items: Sequence[Item]) -> list[UUID | None]:
        """Return the record that each message names by id or by key; None for a key that no record answers for."""
        by_key = [
            (f.tenant, f.idempotency_key) for f in (item.feedback for item in items) if f.idempotency_key is not None
        ]
        # A tenant without a key of its own has published no job, so none of its keys names a record.
        strangers = await self._host.tenant_keys.load({tenant for tenant, _ in by_key})
        keys = {
            (tenant, key): self._host.tenant_keys.key_hmac(tenant, key)
            for tenant, key in by_key
            if tenant not in strangers
        }
        found: dict[tuple[str, bytes], UUID] = {}
        if keys:
            tenants = [tenant for tenant, _ in keys]
            rows = await self._host.pool.fetch(_SQL["records_of_keys"], tenants, list(keys.values()))
            found = {(row["tenant"], row["key_hmac"]): row["record_id"] for row in rows}
        records: list[UUID | None] = []
        for feedback in (item.feedback for item in items):
            if feedback.idempotency_key is None:
                records.append(feedback.record_id)
            else:
                digest = keys.get((feedback.tenant, feedback.idempotency_key))
                records.append(found.get((feedback.tenant, digest)) if digest is not None else None)
        return records

    async def _given(self, connection: Connection, named: Sequence[UUID | None]) -> dict[tuple[str, UUID], set[UUID]]:
        """Return, by tenant and record, the ids of the verdicts that those of these records that exist have already."""
        wanted = sorted({record_id for record_id in named if record_id is not None})
        rows = await connection.fetch(_SQL["given"], wanted) if wanted else []
        return {(row["tenant"], row["record_id"]): set(row["given"]) for row in rows}

    def _refused(self, item: Item, code: ErrorCode, reason: str) -> Outgoing:
        self._host.telemetry.events.labels("feedback_refused").inc()
        return refusal_of(self._host, item.record, code, reason)


def parse(value: bytes | None) -> Feedback:
    """Return what a message's bytes say; raises :class:`UnreadableError`, which names a field and never a value."""
    try:
        return Feedback.model_validate_json(value or b"", strict=True)
    except ValidationError as error:
        [details, *_] = error.errors(include_url=False, include_context=False, include_input=False)
    if details["type"] == "json_invalid" or details["type"] == "model_type":
        raise UnreadableError(ErrorCode.INVALID_MESSAGE, "the value is not a JSON object")
    if not details["loc"]:
        raise UnreadableError(ErrorCode.INVALID_MESSAGE, "names not exactly one of record_id and idempotency_key")
    if details["type"] == "extra_forbidden":
        raise UnreadableError(ErrorCode.UNKNOWN_FIELD, "a field that feedback does not have")
    field = str(details["loc"][0])
    if details["type"] == "missing":
        raise UnreadableError(ErrorCode.INVALID_MESSAGE, f"{field}: missing")
    code = ErrorCode.UNSUPPORTED_SCHEMA_VERSION if field == "schema_version" else ErrorCode.INVALID_MESSAGE
    raise UnreadableError(code, f"{field}: not as the schema has it")


def entry_of(record_id: UUID, feedback: Feedback) -> tuple[UUID, FeedbackData]:
    """Return id and data of the entry that feedback becomes: alike for whatever says the same of the record."""
    # Minus zero is zero, and must not be told apart from it by its text.
    ratio = None if feedback.edit_ratio is None else feedback.edit_ratio + 0.0
    data = FeedbackData(verdict=feedback.verdict, edit_ratio=ratio, reason_code=feedback.reason_code)
    return derive(record_id, EntryKind.FEEDBACK, orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode()), data
