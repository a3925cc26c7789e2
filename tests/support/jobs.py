"""Jobs as bytes, and as records of Kafka, without a broker."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiokafka import ConsumerRecord

from services.classifier.prepare import Item
from services.classifier.stage import ClassifierStage
from services.runtime.kafka import Outgoing

TENANT: Final = "acme"
PUBLISHED: Final = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
_offsets = itertools.count()


def job(text: str = "Translate to French: good morning", **fields: Any) -> dict[str, Any]:
    """Return a small valid job."""
    return {
        "schema_version": 1,
        "tenant": TENANT,
        "latency_class": "background",
        "messages": [{"role": "user", "content": text}],
        **fields,
    }


def cancel(key: str, tenant: str = TENANT) -> dict[str, Any]:
    """Return a cancel of the job under a key."""
    return {"schema_version": 1, "type": "cancel", "tenant": tenant, "idempotency_key": key}


def replay(record_id: object, tenant: str = TENANT) -> dict[str, Any]:
    """Return a request to run a record's job again."""
    return {"schema_version": 1, "type": "replay", "tenant": tenant, "record_id": str(record_id)}


def published(
    document: object,
    *,
    topic: str = "requests",
    offset: int | None = None,
    at: datetime = PUBLISHED,
    headers: Sequence[tuple[str, bytes]] = (),
) -> ConsumerRecord[bytes, bytes]:
    """Return a document as a consumer gets it, each at a place of its own unless ``offset`` says where."""
    value = document if isinstance(document, bytes) else orjson.dumps(document)
    return ConsumerRecord(
        topic=topic,
        partition=0,
        offset=next(_offsets) if offset is None else offset,
        timestamp=round(at.timestamp() * 1000),
        timestamp_type=0,
        key=None,
        value=value,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=len(value),
        headers=headers,
    )


async def take_in(stage: ClassifierStage, *documents: object) -> list[Outgoing]:
    """Carry documents through the classifier as one slice; a ready-made record of Kafka stays as it is."""
    records = [d if isinstance(d, ConsumerRecord) else published(d) for d in documents]
    items: Sequence[Item] = [stage.read(record) for record in records]
    return list(await stage.run(items))
