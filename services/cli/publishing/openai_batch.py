"""OpenAI batch lines as jobs: pure. The key is the ``custom_id`` and a digest of the line.

So the same file adds nothing, and another file may use the same ids. The digest is of the meaning: white space and the
order of fields do not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from schemas.codes import LatencyClass
from schemas.job import SCHEMA_VERSION
from services.cli.publishing.items import Item, Refusal
from services.cli.publishing.lines import MAX_LINE_BYTES, Line
from services.cli.publishing.native import too_large
from services.cli.publishing.openai_body import FieldRefusedError, chat_fields, embedding_fields, pick

DIGEST_CHARACTERS: Final = 16
MAX_CUSTOM_ID: Final = 512 - 1 - DIGEST_CHARACTERS
"""In characters: what an idempotency key has room for beside the digest."""
ENDPOINTS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "/v1/chat/completions": chat_fields,
    "/v1/embeddings": embedding_fields,
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the file does not say about its jobs."""

    tenant: str
    latency_class: LatencyClass = LatencyClass.BATCH
    deadline: datetime | None = None
    alias: str | None = None


def translate(line: Line, defaults: Defaults) -> Item | Refusal:
    """Return the job of a line, or what in it cannot be asked for."""
    if line.raw is None:
        return too_large(line.number)
    try:
        document = orjson.loads(line.raw)
    except orjson.JSONDecodeError:
        return Refusal(line.number, "invalid_json", "The line is not JSON.")
    if not isinstance(document, dict):
        return Refusal(line.number, "invalid_json", "The line is not a JSON object.")
    custom_id = document.get("custom_id")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= MAX_CUSTOM_ID:
        message = f"is a string of 1 to {MAX_CUSTOM_ID} characters"
        return Refusal(line.number, "invalid_custom_id", message, "custom_id")
    try:
        job = _job(document, custom_id, defaults)
        value = orjson.dumps(job)
    except FieldRefusedError as refused:
        return Refusal(line.number, "unsupported_parameter", refused.reason, refused.path, custom_id)
    except orjson.JSONEncodeError:
        return Refusal(line.number, "invalid_json", "The line is nested too deeply.", custom_id=custom_id)
    if len(value) > MAX_LINE_BYTES:
        return too_large(line.number, custom_id)
    return Item(line.number, value, defaults.tenant, job["idempotency_key"], custom_id)


def line_key(document: Mapping[str, Any]) -> str:
    """Return the idempotency key of a batch line; raises ``orjson.JSONEncodeError`` where it is nested too deeply."""
    canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    return f"{document['custom_id']}:{hashlib.sha256(canonical).hexdigest()[:DIGEST_CHARACTERS]}"


def _job(document: Mapping[str, Any], custom_id: str, defaults: Defaults) -> dict[str, Any]:
    # For what it refuses: fields beside the four.
    pick(document, "", dict.fromkeys(("custom_id", "method", "url", "body"), _unchanged))
    if document.get("method") != "POST":
        raise FieldRefusedError("method", "is not supported, other than POST")
    url, body = document.get("url"), document.get("body")
    if not isinstance(url, str) or url not in ENDPOINTS:
        raise FieldRefusedError("url", f"is not supported, other than {' and '.join(ENDPOINTS)}")
    if not isinstance(body, dict):
        raise FieldRefusedError("body", "is an object")
    job: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "tenant": defaults.tenant,
        "latency_class": defaults.latency_class,
        "idempotency_key": line_key(document),
        **ENDPOINTS[url](body),
        "metadata": {"custom_id": custom_id},
    }
    if defaults.deadline is not None:
        job["deadline"] = defaults.deadline.isoformat()
    if defaults.alias is not None:
        job["alias"] = defaults.alias
    return job


def _unchanged(value: Any, path: str) -> Any:
    return value
