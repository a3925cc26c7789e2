"""The classifier's stage: one slice of published messages becomes records, in one transaction.

claim the keys ─▶ make the new records' keys ─▶ append received, classified ─▶ vault, open_record ─▶ commit
     └▶ known: answered from what is stored
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from aiokafka import ConsumerRecord

from schemas.codes import EntryKind, ErrorCode, Status
from schemas.job import Cancel
from services.classifier import erased, intake
from services.classifier.arrival import Arrival
from services.classifier.intake import NoTenantError
from services.classifier.prepare import Item, Preparation
from services.classifier.redacted import content_of, with_redaction
from services.detect import warm
from services.runtime import ledger, queries, vault
from services.runtime.binding import Binder
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.host import Host
from services.runtime.ids import new_record_id
from services.runtime.kafka import Outgoing
from services.runtime.keyring import RecordKey
from services.runtime.ledger import ChainWriter, Entry
from services.runtime.microbatch import dead_letter, refusal_of
from services.runtime.postgres import Connection
from services.runtime.wakeup import NOTIFY_ALL
from services.tenancy import Refusal

_SQL = queries.load("intake")


class ClassifierStage:
    """Intake and classification of micro-batches."""

    def __init__(self, host: Host, clock: Callable[[], datetime]) -> None:
        """Take the host's parts and load the detectors; ``clock`` gives the time that entries carry."""
        # Before the service joins its group: loading takes a second, many on a busy machine, without one heartbeat.
        warm()
        self._host = host
        self._clock = clock
        self._binder = Binder(host.settings, host.tenants)
        self._preparation = Preparation(host)
        self._sweep_after: Final = timedelta(seconds=host.settings.sweep_after_s)

    def read(self, record: ConsumerRecord[bytes, bytes]) -> Item:
        """Return the record's message; raises ``UnreadableError``."""
        try:
            message = intake.read(record.value)
        except NoTenantError as nobody:
            return Item(record, nobody, self._binder.bind(record, None))
        return Item(record, message, self._binder.bind(record, message.tenant))

    async def run(self, items: Sequence[Item]) -> Sequence[Outgoing]:
        """Take in one slice."""
        items, refused = await self._bound(items)
        arrivals = await self._preparation.arrivals(items)
        cancels = [item.message for item in items if isinstance(item.message, Cancel)]
        async with self._host.pool.acquire() as connection, connection.transaction():
            await self._remember_cancels(connection, cancels)
            outgoing, losers = await self._take_in(connection, arrivals)
            outgoing += await self._answer_known(connection, losers)
        return outgoing + refused

    async def poisoned(self, item: Item, error: BaseException) -> Sequence[Outgoing]:
        """Keep a message that the database refuses."""
        reason = "the database refuses a value of this message"
        return [dead_letter(self._host.settings, item.record, ErrorCode.INTERNAL, reason)]

    # -- whose it is ----------------------------------------------------------------------------------------------

    async def _bound(self, items: Sequence[Item]) -> tuple[list[Item], list[Outgoing]]:
        """Return the items that are some tenant's, each as that tenant's, and dead letters for the others."""
        items = await self._binder.settled(items, self.read)
        bound: list[Item] = []
        refused: list[Outgoing] = []
        for item in items:
            if isinstance(item.bound, Refusal):
                refused.append(self._refused(item, item.bound))
            else:
                message = intake.bound_to(item.bound.tenant, item.message)
                bound.append(item if message is item.message else replace(item, message=message))
        return bound, refused

    def _refused(self, item: Item, refusal: Refusal) -> Outgoing:
        code, reason = ErrorCode.TENANT_MISMATCH, refusal.reason
        if isinstance(item.message, NoTenantError):
            code, reason = item.message.code, item.message.reason
        self._host.telemetry.events.labels("refused").inc()
        return refusal_of(self._host, item.record, code, reason)

    # -- within it ------------------------------------------------------------------------------------------------

    async def _remember_cancels(self, connection: Connection, cancels: Sequence[Cancel]) -> None:
        keys = sorted({(c.tenant, self._host.tenant_keys.key_hmac(c.tenant, c.idempotency_key)) for c in cancels})
        if keys:
            await connection.execute(_SQL["cancel_keys"], [tenant for tenant, _ in keys], [key for _, key in keys])

    async def _take_in(
        self, connection: Connection, arrivals: Sequence[Arrival]
    ) -> tuple[list[Outgoing], list[Arrival]]:
        """Make records of the arrivals that win their keys; return what follows, and which others are redeliveries."""
        winners, losers = await self._claim(connection, arrivals)
        redelivered, conflicts = await self._conflicts(connection, losers)
        if conflicts:
            # A conflict is a record of its own; its identity holds the payload, so it cannot conflict again.
            more, known = await self._claim(connection, conflicts)
            winners += more
            redelivered += known
        taken = await erased.refused(connection, [a for a, _ in winners], self._host.tenant_keys)
        winners = [(a, cancelled) for a, (_, cancelled) in zip(taken, winners, strict=True)]
        return await self._store(connection, winners), redelivered

    async def _claim(
        self, connection: Connection, arrivals: Sequence[Arrival]
    ) -> tuple[list[tuple[Arrival, bool]], list[Arrival]]:
        """Return the winners, each with whether a cancel waits for it, and the losers."""
        first: dict[tuple[str, bytes], Arrival] = {}
        losers = [a for a in arrivals if first.setdefault((a.identity.tenant, a.identity.key), a) is not a]
        if not first:
            return [], []
        keys = sorted(first)
        columns = (
            [tenant for tenant, _ in keys],
            [key for _, key in keys],
            [first[key].identity.payload for key in keys],
            [first[key].record_id for key in keys],
        )
        won = {
            (row["tenant"], row["key_hmac"]): row["cancelled_at"] is not None
            for row in await connection.fetch(_SQL["claim_keys"], *columns)
        }
        winners = [(first[key], won[key]) for key in keys if key in won]
        return winners, losers + [first[key] for key in keys if key not in won]

    async def _conflicts(
        self, connection: Connection, losers: Sequence[Arrival]
    ) -> tuple[list[Arrival], list[Arrival]]:
        owners = await self._owners(connection, losers)
        redelivered: list[Arrival] = []
        conflicts: list[Arrival] = []
        for loser in losers:
            owner, payload = owners[loser.identity.tenant, loser.identity.key]
            if payload == loser.identity.payload:
                redelivered.append(loser)
            else:
                conflicts.append(loser.as_conflict(owner, self._host.tenant_keys, new_record_id()))
        return redelivered, conflicts

    async def _owners(
        self, connection: Connection, arrivals: Sequence[Arrival]
    ) -> dict[tuple[str, bytes], tuple[UUID, bytes]]:
        keys = sorted({(a.identity.tenant, a.identity.key) for a in arrivals})
        if not keys:
            return {}
        rows = await connection.fetch(_SQL["read_keys"], [tenant for tenant, _ in keys], [key for _, key in keys])
        return {(row["tenant"], row["key_hmac"]): (row["record_id"], row["payload_hmac"]) for row in rows}

    async def _store(self, connection: Connection, winners: Sequence[tuple[Arrival, bool]]) -> list[Outgoing]:
        if not winners:
            return []
        now = self._clock()
        # Committed before the records: a crash here leaves orphans, which are swept; the other order loses content.
        keys = await self._host.keyring.create([a.record_id for a, _ in winners if not a.erased])
        reach(FaultPoint.CLASSIFIER_KEYS_STORED)
        chains: list[ledger.Writes] = []
        contents: list[vault.Content] = []
        outgoing: list[Outgoing] = []
        for taken, cancelled in winners:
            key = keys.get(taken.record_id) or RecordKey.new(taken.record_id)  # nobody ever has a key that is not kept
            writer = ChainWriter(taken.record_id)
            received = taken.received(key, now)
            first = writer.add(EntryKind.RECEIVED, received, now)
            if taken.classification is not None:
                data = with_redaction(taken.classification.entry, taken.redacted, key)
                classified = writer.add(EntryKind.CLASSIFIED, data, now)
                if taken.redacted is not None:
                    contents.append(content_of(taken.redacted, classified, key))
            chains.append(ledger.writes(writer, None, now))
            if not taken.erased:
                ciphertext = key.encrypt(first.entry_id, vault.JOB, taken.content)
                contents.append(vault.Content(taken.record_id, first.entry_id, vault.JOB, ciphertext))
            outgoing.append(self._wake(taken, writer.entries[-1], received, now, cancelled=cancelled))
            if taken.fault is None and not cancelled and received["notify"] == NOTIFY_ALL:
                outgoing.append(self._host.wakeups.notice(received, taken.record_id, "accepted", now))
        await ledger.append(connection, chains)
        await vault.store(connection, contents)
        await erased.remember(connection, [a for a, _ in winners if not a.erased], self._host.tenant_keys)
        await self._open(connection, [a for a, _ in winners])
        reach(FaultPoint.CLASSIFIER_APPENDED)
        return outgoing

    async def _open(self, connection: Connection, taken: Sequence[Arrival]) -> None:
        ids, tenants = [a.record_id for a in taken], [a.tenant for a in taken]
        await connection.execute(_SQL["open_records"], ids, tenants, self._sweep_after)
        replays = [a for a in taken if a.replay_of is not None and a.job is not None and a.job.idempotency_key]
        if replays:
            await connection.execute(
                _SQL["repoint_keys"],
                [a.tenant for a in replays],
                [self._host.tenant_keys.key_hmac(a.tenant, a.job.idempotency_key or "") for a in replays if a.job],
                [a.replay_of for a in replays],
                [a.record_id for a in replays],
            )

    def _wake(self, taken: Arrival, last: Entry, received: Any, now: datetime, *, cancelled: bool) -> Outgoing:
        wakeups = self._host.wakeups
        if taken.fault is not None:
            return wakeups.end(taken.tenant, last, Status.REJECTED, taken.fault.code, taken.fault.field)
        if cancelled:
            return wakeups.end(taken.tenant, last, Status.CANCELLED, ErrorCode.CANCELLED)
        assert taken.classification is not None
        return wakeups.classified(received, now, last, taken.classification.features)

    async def _answer_known(self, connection: Connection, losers: Sequence[Arrival]) -> list[Outgoing]:
        """Answer redeliveries: an unsealed record is woken from its beginning, a sealed one publishes again."""
        owners = await self._owners(connection, losers)
        chains = await ledger.read_chains(connection, list({record_id for record_id, _ in owners.values()}))
        outgoing: list[Outgoing] = []
        for chain in chains.values():
            sealed = any(entry.kind == EntryKind.SEALED for entry in chain)
            message = self._host.wakeups.for_chain(chain if sealed else chain[:2])
            if message is not None:
                outgoing.append(message)
        return outgoing
