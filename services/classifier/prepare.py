"""What a slice's messages become before its transaction: arrivals with an identity, classified, with nothing stored.

A replay's content comes from the vault; one that may not be run again, or whose content is gone, becomes a rejection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import orjson
from aiokafka import ConsumerRecord
from pydantic import ValidationError

from schemas.codes import EntryKind, ErrorCode
from schemas.job import Cancel, Job, Replay
from services.classifier import arrival, intake
from services.classifier.arrival import Arrival
from services.classifier.classify import Classification
from services.classifier.intake import Fault, NoTenantError, Rejected
from services.classifier.redacted import redacted_of
from services.classifier.tenant_rules import TenantRules
from services.runtime import ledger, vault
from services.runtime.host import Host
from services.runtime.ids import derive, new_record_id
from services.runtime.keyring import ContentDamagedError
from services.runtime.tenant_keys import NOBODY
from services.tenancy import Bound, Refusal

Message = Job | Cancel | Replay | Rejected
Classify = Callable[[Job], Classification]


@dataclass(frozen=True, slots=True)
class Item:
    """One record of Kafka, what its bytes are, and whose it is."""

    record: ConsumerRecord[bytes, bytes]
    message: Message | NoTenantError
    bound: Bound | Refusal

    @property
    def content(self) -> bytes:
        """The bytes published."""
        return self.record.value or b""


class Preparation:
    """Makes arrivals of bound messages."""

    def __init__(self, host: Host) -> None:
        """Take the host's parts."""
        self._host = host
        self._rules = TenantRules(host.tenants, host.telemetry)

    async def arrivals(self, items: Sequence[Item]) -> list[Arrival]:
        """Return what each message is, cancels left out."""
        originals = await self._originals([item.message for item in items if isinstance(item.message, Replay)])
        await self._host.tenant_keys.ensure(_tenants(items, originals))
        return await asyncio.to_thread(self._made, items, originals)

    async def _originals(self, replays: Sequence[Replay]) -> dict[tuple[str, UUID], bytes]:
        """Return, by tenant and record, the job content of records that are that tenant's own, ended and not erased."""
        if not replays:
            return {}
        chains = await ledger.read_chains(self._host.pool, list({replay.record_id for replay in replays}))
        ids = [
            record_id
            for record_id, chain in chains.items()
            if any(entry.kind == EntryKind.SEALED for entry in chain)
            and any(entry.kind == EntryKind.CLASSIFIED for entry in chain)
        ]
        keys = await self._host.keyring.load(ids)
        entries = {record_id: derive(record_id, EntryKind.RECEIVED, 0) for record_id in ids}
        found = await vault.load(self._host.pool, [(r, e, vault.JOB) for r, e in entries.items()])
        originals: dict[tuple[str, UUID], bytes] = {}
        for (record_id, _), content in found.items():
            tenant = chains[record_id][0].content()["data"]["tenant"]
            try:
                if record_id in keys:
                    plain = keys[record_id].decrypt(content.entry_id, vault.JOB, content.ciphertext)
                    originals[tenant, record_id] = plain
            except ContentDamagedError:
                self._host.telemetry.events.labels("content_damaged").inc()
                self._host.telemetry.log.error("content to replay is damaged", record_id=str(record_id))
        return originals

    def _made(self, items: Sequence[Item], originals: dict[tuple[str, UUID], bytes]) -> list[Arrival]:
        """Work out what every message is. Heavy, and in a thread: the heartbeat lives on the event loop."""
        classify = self._rules.in_force()
        arrivals: list[Arrival] = []
        for item in items:
            match item.message:
                case Job() as job:
                    arrivals.append(self._job(item, job, classify))
                case Rejected() as message:
                    arrivals.append(self._rejection(item, message))
                case Replay() as replay:
                    original = originals.get((replay.tenant, replay.record_id))
                    arrivals.append(self._replay(item, replay, original, classify))
        return arrivals

    def _job(self, item: Item, job: Job, classify: Classify) -> Arrival:
        # Rejected under its own key: a job that ran in time is the same job when it is published again too late.
        published_at = intake.published_at(item.record.timestamp)
        too_late = job.deadline is not None and job.deadline <= published_at
        classification = None if too_late else classify(job)
        return Arrival(
            source=arrival.source_of(item.record),
            published_at=published_at,
            tenant=job.tenant,
            identity=arrival.job_identity(job, item.content, item.record, self._host.tenant_keys),
            record_id=new_record_id(),
            content=item.content,
            job=job,
            classification=classification,
            redacted=None if classification is None else redacted_of(job, classification),
            fault=Fault(ErrorCode.DEADLINE_PASSED, "deadline") if too_late else None,
        )

    def _rejection(self, item: Item, message: Rejected) -> Arrival:
        rejected = arrival.rejection(
            message, item.content, arrival.source_of(item.record), self._host.tenant_keys, new_record_id()
        )
        return replace(rejected, published_at=intake.published_at(item.record.timestamp))

    def _replay(self, item: Item, replay: Replay, original: bytes | None, classify: Classify) -> Arrival:
        refusal = Rejected(replay.tenant, Fault(ErrorCode.INVALID_MESSAGE, "record_id"), {})
        if original is None:
            return self._rejection(item, refusal)
        try:
            job = Job.model_validate(orjson.loads(original))
        except (ValidationError, orjson.JSONDecodeError):
            return self._rejection(item, refusal)
        classification = classify(job)
        return Arrival(
            source=arrival.source_of(item.record),
            published_at=intake.published_at(item.record.timestamp),
            tenant=job.tenant,
            identity=arrival.replay_identity(replay.tenant, replay.record_id, self._host.tenant_keys),
            record_id=new_record_id(),
            content=original,
            job=job,
            classification=classification,
            redacted=redacted_of(job, classification),
            fault=None,
            replay_of=replay.record_id,
        )


def _tenants(items: Sequence[Item], originals: Mapping[tuple[str, UUID], bytes]) -> set[str]:
    """Return whose keys a slice needs: a message that makes no job needs none of its tenant's."""
    named = {item.message.tenant for item in items if isinstance(item.message, Job | Cancel)}
    return named | {tenant for tenant, _ in originals} | {NOBODY}
