"""Native lines: published byte by byte as they are, for a bad job must reach Waybill and be answered there."""

from __future__ import annotations

from typing import Any

import orjson

from schemas.topics import MIB, REQUESTS
from services.cli.publishing.items import Item, Refusal
from services.cli.publishing.lines import Line

MAX_KEY_BYTES = 4096


def read(line: Line) -> Item | Refusal:
    """Return the item of a line: its bytes, and the tenant and key that it names where it can be read."""
    if line.raw is None:
        return too_large(line.number)
    document = _object(line.raw)
    tenant, key = document.get("tenant"), document.get("idempotency_key")
    return Item(
        line=line.number,
        value=line.raw,
        tenant=tenant if isinstance(tenant, str) else None,
        # A key beyond what the schema allows is no key to Kafka either: the job is rejected anyway.
        key=key if isinstance(key, str) and len(key.encode()) <= MAX_KEY_BYTES else None,
    )


def too_large(line: int, custom_id: str | None = None) -> Refusal:
    """Return the refusal of a line that the topic does not take."""
    limit = REQUESTS.max_message_bytes // MIB
    return Refusal(line, "too_large", f"The line is larger than the topic's {limit} MiB.", custom_id=custom_id)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
