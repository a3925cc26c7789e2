"""Reading what was published: pure, and strict. What is wrong is told by code and schema path, never by value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from schemas.codes import ErrorCode
from schemas.job import MAX_JOB_BYTES, SCHEMA_VERSION, Cancel, Job, Replay, TenantId
from services.classifier.diagnose import lenient_object, unprintable_path
from services.runtime.microbatch import UnreadableError

MAX_METADATA_BYTES: Final = 64 * 1024
_TENANT: Final = TypeAdapter(TenantId)
_PLAIN_NAME: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
_OWN_FIELDS: Final = frozenset(Job.model_fields)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a job is rejected; ``field`` is a schema path."""

    code: ErrorCode
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message of a known tenant that is no acceptable job. It still gets a record and a result."""

    tenant: str
    fault: Fault
    document: Mapping[str, Any]

    @property
    def idempotency_key(self) -> str | None:
        """The key that it came with, where that is a string."""
        key = self.document.get("idempotency_key")
        return key if isinstance(key, str) else None


def read(value: bytes | None, published_at: datetime) -> Job | Cancel | Replay | Rejected:
    """Return what a message's bytes are; raises :class:`UnreadableError` where no record can be made of them."""
    if value is None:
        raise UnreadableError(ErrorCode.INVALID_MESSAGE, "the message has no value")
    try:
        document = orjson.loads(value)
        fault = None
    except orjson.JSONDecodeError:
        # Only to learn whose it is and what is wrong with it: what the strict parser refuses is never a job.
        document, fault = _what_it_might_have_been(value)
    if not isinstance(document, dict):
        raise UnreadableError(ErrorCode.INVALID_MESSAGE, "the value is not a JSON object")
    tenant = _tenant(document)
    fault = fault or _fault_before_schema(value, document)
    if fault is not None:
        return Rejected(tenant, fault, document)
    try:
        return _message(document, tenant, published_at)
    except ValidationError as error:
        return Rejected(tenant, _fault_of(error), document)


def _what_it_might_have_been(value: bytes) -> tuple[Any, Fault]:
    document, path = lenient_object(value)
    return document, Fault(ErrorCode.INVALID_MESSAGE, path)


def _tenant(document: Mapping[str, Any]) -> str:
    if "tenant" not in document:
        raise UnreadableError(ErrorCode.INVALID_MESSAGE, "tenant: missing")
    try:
        return _TENANT.validate_python(document["tenant"], strict=True)
    except ValidationError:
        raise UnreadableError(ErrorCode.INVALID_MESSAGE, "tenant: not a tenant id") from None


def _fault_before_schema(value: bytes, document: Mapping[str, Any]) -> Fault | None:
    if len(value) > MAX_JOB_BYTES:
        return Fault(ErrorCode.TOO_LARGE, _largest_field(document))
    version = document.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        missing = "schema_version" not in document
        code = ErrorCode.INVALID_MESSAGE if missing else ErrorCode.UNSUPPORTED_SCHEMA_VERSION
        return Fault(code, "schema_version")
    if document.get("latency_class") == "interactive":
        return Fault(ErrorCode.LATENCY_CLASS_REFUSED, "latency_class")
    # An escaped backslash before u0000 looks alike, so the walk decides.
    if b"\\u0000" in value and (path := unprintable_path(document)) is not None:
        return Fault(ErrorCode.INVALID_MESSAGE, path)
    return None


def _largest_field(document: Mapping[str, Any]) -> str | None:
    sizes = {name: len(orjson.dumps(document[name])) for name in _OWN_FIELDS & document.keys()}
    return max(sizes, key=lambda name: sizes[name], default=None)


def _message(document: dict[str, Any], tenant: str, published_at: datetime) -> Job | Cancel | Replay | Rejected:
    match document.get("type", "job"):
        case "cancel":
            return Cancel.model_validate(document)
        case "replay":
            return Replay.model_validate(document)
    job = Job.model_validate(document)
    if job.deadline is not None and job.deadline <= published_at:
        return Rejected(tenant, Fault(ErrorCode.DEADLINE_PASSED, "deadline"), document)
    if job.metadata and not _fits(job.metadata):
        return Rejected(tenant, Fault(ErrorCode.INVALID_MESSAGE, "metadata"), document)
    if job.tools and not _fits([tool.function.parameters for tool in job.tools], MAX_JOB_BYTES):
        return Rejected(tenant, Fault(ErrorCode.INVALID_MESSAGE, "tools"), document)
    if (
        job.response_format
        and job.response_format.json_schema
        and not _fits(job.response_format.json_schema.json_schema, MAX_JOB_BYTES)
    ):
        return Rejected(tenant, Fault(ErrorCode.INVALID_MESSAGE, "response_format"), document)
    return job


def _fits(value: object, limit: int = MAX_METADATA_BYTES) -> bool:
    try:
        return len(orjson.dumps(value)) <= limit
    except orjson.JSONEncodeError:  # nested too deeply
        return False


def _fault_of(error: ValidationError) -> Fault:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(_path(first["loc"])) or None
    code = ErrorCode.INVALID_MESSAGE
    if first["type"] == "extra_forbidden":
        code = ErrorCode.UNKNOWN_FIELD
    elif path and path.startswith("messages.") and path.endswith(".type"):
        code = ErrorCode.UNSUPPORTED_CONTENT
    elif path is None and first["type"] == "value_error":
        # "operation chat needs messages": our own words, and their last one is the field.
        path = first["msg"].rsplit(" ", 1)[-1]
    return Fault(code, path)


def _path(location: tuple[int | str, ...]) -> Iterator[str]:
    """Give the path without the names of union members; a name that is not plain is the caller's text, not shown."""
    for part in location:
        if isinstance(part, int):
            yield str(part)
        elif _PLAIN_NAME.match(part) and part not in ("str", "NamedTool"):
            yield part
        elif not part.startswith(("constrained-", "list[", "literal[", "function-", "[key]")):
            yield "?"


def published_at(timestamp_ms: int) -> datetime:
    """Return the time of a Kafka record, whose timestamp is in milliseconds since the epoch."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
