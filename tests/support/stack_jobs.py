"""Jobs for whole stacks: how many, whose, and files of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import orjson

from schemas.topics import REQUESTS
from services.runtime.kafka import Outgoing
from services.runtime.settings import Settings

_WORDS: Final = ("invoice", "parcel", "refund", "contract", "meeting", "warranty", "delivery", "complaint")


def job_count(default: int) -> int:
    """Return how many jobs a test sends: ``WAYBILL_CHAOS_JOBS``, or what is small enough for every day."""
    return int(os.environ.get("WAYBILL_CHAOS_JOBS", default))


def long_or(short: int, long: int) -> int:
    """Return how often a thing is to happen: ``long`` with ``WAYBILL_CHAOS=long`` (``make chaos``), else ``short``."""
    return long if os.environ.get("WAYBILL_CHAOS") == "long" else short


def new_tenant(name: str) -> str:
    """Return a tenant that nobody else has: its history is one test's."""
    return f"{name}-{uuid4().hex[:8]}"


def job(tenant: str, key: str, text: str = "Summarise: the parcel came on Monday.", **fields: Any) -> dict[str, Any]:
    """Return a small valid job under a key."""
    return {
        "schema_version": 1,
        "tenant": tenant,
        "latency_class": "background",
        "idempotency_key": key,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }


def many(tenant: str, count: int, *, script: str = "") -> list[dict[str, Any]]:
    """Return jobs of both latency classes, no two alike."""
    return [
        job(
            tenant,
            f"job-{number}",
            f"Summarise note {number} about the {_WORDS[number % len(_WORDS)]}.{script}",
            latency_class=("background", "batch")[number % 2],
            metadata={"number": number},
        )
        for number in range(count)
    ]


def keys(jobs: Iterable[dict[str, Any]]) -> list[str]:
    """Return their idempotency keys."""
    return [one["idempotency_key"] for one in jobs]


def messages(settings: Settings, jobs: Iterable[dict[str, Any]]) -> list[Outgoing]:
    """Return jobs as messages, each under its idempotency key."""
    return [message for one in jobs for message in documents(settings, one["idempotency_key"], [one])]


def documents(settings: Settings, key: str, contents: Iterable[dict[str, Any]]) -> list[Outgoing]:
    """Return documents as messages under one Kafka key: they come in the order given."""
    topic = settings.topic(REQUESTS.name)
    return [Outgoing(topic, key.encode(), orjson.dumps(content)) for content in contents]


def write_lines(path: Path, documents: Iterable[dict[str, Any]]) -> Path:
    """Write a file of JSON lines."""
    path.write_bytes(b"".join(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE) for document in documents))
    return path


def read_lines(path: Path) -> list[Any]:
    """Return the documents of a file of JSON lines."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def openai_batch(count: int) -> Sequence[dict[str, Any]]:
    """Return the lines of an OpenAI batch file: chat completions, and an embedding now and then."""
    return [_embedding(number) if number % 10 == 9 else _chat(number) for number in range(count)]


def _chat(number: int) -> dict[str, Any]:
    return {
        "custom_id": f"request-{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "gpt-5.4-mini",
            "messages": [
                {"role": "system", "content": "You answer in one sentence."},
                {"role": "user", "content": f"What is case {number} of the {_WORDS[number % len(_WORDS)]} about?"},
            ],
            "max_tokens": 200,
            "temperature": 0.2,
        },
    }


def _embedding(number: int) -> dict[str, Any]:
    return {
        "custom_id": f"request-{number}",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": "text-embedding-3-small", "input": f"case {number}"},
    }
