"""What one slice makes of the messages it read: each becomes an arrival with an identity, before anything is stored.

Identity is a pair of HMACs under the tenant's key: one of what names the job, one of its payload. A job is named by its
idempotency key, or without one by where and when it stood; a rejected message by its key *and* payload, so that a
mended message may use the key again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from aiokafka import ConsumerRecord

from schemas.codes import ErrorCode, LatencyClass, Operation
from schemas.entries import DocumentData, FaultData, Received, Source
from schemas.job import Document, Job
from services.classifier.classify import Classification
from services.classifier.intake import Fault, Rejected
from services.detect import RedactedJob
from services.runtime.ids import content_hash
from services.runtime.keyring import RecordKey
from services.runtime.tenant_keys import NOBODY, TenantKeys

DEFAULT_DEADLINE: Final = {LatencyClass.BACKGROUND: timedelta(hours=48), LatencyClass.BATCH: timedelta(hours=72)}
_PLACE, _REJECTED, _REPLAY, _PAYLOAD = "place", "rejected", "replay", "payload"


_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a message the same message."""

    tenant: str
    key: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message that gets a record: a job to run, or a rejection to record."""

    source: Source
    tenant: str
    identity: Identity
    record_id: UUID
    content: bytes
    job: Job | None
    classification: Classification | None
    fault: Fault | None
    conflict_with: UUID | None = None
    replay_of: UUID | None = None
    redacted: RedactedJob | None = None
    """The job without what was found in it, where anything was."""
    document: Mapping[str, Any] = field(default_factory=dict)
    published_at: datetime = _LONG_AGO
    """When it was published, as its client says; where nobody said, long ago."""

    @property
    def subject(self) -> str | None:
        """Whose content it is, where the message says so."""
        named = self.job.subject if self.job else self.document.get("subject")
        return named if isinstance(named, str) else None

    @property
    def erased(self) -> bool:
        """Whether it is refused because its content was erased: then none of it is kept."""
        return self.fault is not None and self.fault.code is ErrorCode.CONTENT_ERASED

    def as_conflict(self, other: UUID, keys: TenantKeys, record_id: UUID) -> Arrival:
        """Return the rejection of this job because its key already belongs to another payload."""
        key = self.job.idempotency_key if self.job else None
        return replace(
            self,
            record_id=record_id,
            identity=rejected_identity(self.tenant, key, self.content, self.source, keys),
            fault=Fault(ErrorCode.IDEMPOTENCY_CONFLICT, "idempotency_key"),
            conflict_with=other,
            classification=None,
            redacted=None,
        )

    def received(self, key: RecordKey, at: datetime) -> Received:
        """Return the data of the record's first entry."""
        job, document = self.job, self.document
        digests = {"job": key.digest(self.content)}
        named = job.idempotency_key if job else document.get("idempotency_key")
        if isinstance(named, str):
            digests["idempotency_key"] = key.digest(named.encode("utf-8", "surrogatepass"))
        if job and job.subject:
            digests["subject"] = key.digest(job.subject.encode())
        if job and job.metadata:
            digests["metadata"] = key.digest(orjson.dumps(job.metadata, option=orjson.OPT_SORT_KEYS))
        data = Received(
            tenant=self.tenant,
            latency_class=job.latency_class if job else _known(LatencyClass, document.get("latency_class")),
            operation=job.operation if job else _known(Operation, document.get("operation")),
            deadline=self.deadline(at).isoformat(),
            source=self.source,
            bytes=len(self.content),
            digests=digests,
            labels=job.labels if job else {},
            constraints=job.constraints.model_dump(exclude_none=True) if job else {},
            notify=job.notify if job else "final",
            replay_of=None if self.replay_of is None else str(self.replay_of),
        )
        if job and job.documents:
            data["documents"] = [_document(document, key) for document in job.documents]
        if self.fault is not None:
            data["error"] = FaultData(code=self.fault.code, field=self.fault.field)
            if self.conflict_with is not None:
                data["error"]["record_id"] = str(self.conflict_with)
        return data

    def deadline(self, at: datetime) -> datetime:
        """Return when the job must have ended: the caller's own time, but a replay gets the class's again."""
        if self.job is None:
            return at
        if self.job.deadline is not None and self.replay_of is None:
            return self.job.deadline
        return at + DEFAULT_DEADLINE[self.job.latency_class]


def source_of(record: ConsumerRecord[bytes, bytes]) -> Source:
    """Return where a message stood."""
    return Source(topic=record.topic, partition=record.partition, offset=record.offset)


def job_identity(job: Job, content: bytes, record: ConsumerRecord[bytes, bytes], keys: TenantKeys) -> Identity:
    """Return the identity of a valid job. Payloads are compared by meaning, white space does not count."""
    canonical = orjson.dumps(orjson.loads(content), option=orjson.OPT_SORT_KEYS)
    payload = keys.tenant_hmac(job.tenant, _PAYLOAD, canonical)
    if job.idempotency_key is not None:
        return Identity(job.tenant, keys.key_hmac(job.tenant, job.idempotency_key), payload)
    # A topic made again counts its offsets anew, so the time and the payload belong to the place.
    place = f"{record.topic}:{record.partition}:{record.offset}:{record.timestamp}:{content_hash(content)}"
    return Identity(job.tenant, keys.tenant_hmac(job.tenant, _PLACE, place.encode()), payload)


def rejected_identity(tenant: str, key: str | None, content: bytes, source: Source, keys: TenantKeys) -> Identity:
    """Return the identity of a message that is rejected."""
    # Under nobody's key: names that are made up are not to leave a key each.
    payload = keys.tenant_hmac(NOBODY, _PAYLOAD, tenant.encode() + b"\0" + content)
    name = (key or f"{source['topic']}:{source['partition']}:{source['offset']}").encode("utf-8", "surrogatepass")
    return Identity(tenant, keys.tenant_hmac(NOBODY, _REJECTED, name + payload), payload)


def replay_identity(tenant: str, record_id: UUID, keys: TenantKeys) -> Identity:
    """Return the identity of a replay: a record is replayed at most once."""
    name = record_id.bytes
    return Identity(tenant, keys.tenant_hmac(tenant, _REPLAY, name), keys.tenant_hmac(tenant, _PAYLOAD, name))


def rejection(message: Rejected, content: bytes, source: Source, keys: TenantKeys, record_id: UUID) -> Arrival:
    """Return the arrival of a rejected message."""
    return Arrival(
        source=source,
        tenant=message.tenant,
        identity=rejected_identity(message.tenant, message.idempotency_key, content, source, keys),
        record_id=record_id,
        content=content,
        job=None,
        classification=None,
        fault=message.fault,
        document=message.document,
    )


def _document(document: Document, key: RecordKey) -> DocumentData:
    source = document.source
    return DocumentData(
        id=key.digest(document.id.encode()),
        source=None if source is None else key.digest(source.encode()),
        kind=None if source is None else ("url" if _is_url(source) else "name"),
        trust=document.trust,
        characters=len(document.text),
    )


def _is_url(source: str) -> bool:
    try:
        return bool(urlsplit(source).netloc)
    except ValueError:  # brackets that hold no address
        return False


def _known(vocabulary: type[LatencyClass] | type[Operation], value: object) -> str | None:
    return value if isinstance(value, str) and value in set(vocabulary) else None
