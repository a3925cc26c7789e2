"""Lines, jobs and results that the tests of publishing share."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson

from services.cli.publishing.items import Item, Position, Refusal
from services.cli.publishing.lines import Line
from services.cli.publishing.openai_batch import Defaults, translate

TOPIC = "waybill.requests"
TENANT = "demo"
RECORD = UUID("01a20c8a-f993-70b0-8a89-35b31f553bc7")
OUTPUT = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [{"index": 0, "message": {"content": "42"}}]}


def batch_line(custom_id: str = "req-1", url: str = "/v1/chat/completions", **body: Any) -> dict[str, Any]:
    if url == "/v1/chat/completions":
        body = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": "6 times 7?"}]} | body
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def translated(document: Any, number: int = 1, defaults: Defaults | None = None) -> Item | Refusal:
    return translate(Line(number, orjson.dumps(document)), defaults or Defaults(tenant=TENANT))


def job_of(document: Any, defaults: Defaults | None = None) -> dict[str, Any]:
    item = translated(document, defaults=defaults)
    assert isinstance(item, Item), item
    job: dict[str, Any] = orjson.loads(item.value)
    return job


def refusal_of(document: Any) -> Refusal:
    refusal = translated(document)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def item(line: int, key: str | None = None, text: str = "hi") -> Item:
    return Item(line=line, value=orjson.dumps({"text": text}), tenant=TENANT, key=key)


def at(offset: int, partition: int = 0, topic: str = TOPIC) -> Position:
    return Position(topic, partition, offset)


def result(
    position: Position | None = None, key: str | None = None, status: str = "succeeded", **more: Any
) -> dict[str, Any]:
    position = position or at(0)
    return {
        "schema_version": 1,
        "event": "final",
        "record_id": str(RECORD),
        "tenant": TENANT,
        "idempotency_key": key,
        "source": {"topic": position.topic, "partition": position.partition, "offset": position.offset},
        "status": status,
        "output": OUTPUT if status == "succeeded" else None,
        "usage": {"input_tokens": 5, "cached_input_tokens": 0, "output_tokens": 1, "reasoning_tokens": 0},
        "cost_usd": "0.002",
        "attempts": 1,
        "received_at": "2026-01-01T00:00:00Z",
        "sealed_at": "2026-01-01T00:00:01Z",
        "record_head": {"seq": 5, "hash": "0" * 64},
        "metadata": {},
    } | more


def failure(code: str, field: str | None = None) -> dict[str, Any]:
    return {"code": code, "field": field, "message": f"about {code}", "retriable": False}
