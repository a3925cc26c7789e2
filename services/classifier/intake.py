"""Reading what was published: pure, and strict. What is wrong is told by code and schema path, never by value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from schemas.codes import ErrorCode
from schemas.job import MAX_JOB_BYTES, MAX_METADATA_BYTES, SCHEMA_VERSION, Cancel, Job, Replay, TenantId
from services.classifier.diagnose import MAX_NESTING, Part, fault_path, lenient_object, nests_too_deep, told
from services.runtime.microbatch import UnreadableError

_TENANT: Final = TypeAdapter(TenantId)
_OWN_FIELDS: Final = frozenset(Job.model_fields)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Not every moment of the last day has a UTC time that Python can hold.
_END_OF_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)
_MAX_ERRORS: Final = 1_000
_MEMBERS_OF_UNIONS: Final = ("constrained-", "list[", "literal[", "function-", "[key]")


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


class NoTenantError(UnreadableError):
    """A message names no tenant: a record can be made of it only where something else says whose it is."""

    def __init__(self, reason: str, field: str | None, document: Mapping[str, Any]) -> None:
        """Take the reason for a dead letter, the schema path at fault, and what could be read of the message."""
        super().__init__(ErrorCode.INVALID_MESSAGE, reason)
        self.fault = Fault(ErrorCode.INVALID_MESSAGE, field)
        self.document = document


def bound_to(
    tenant: str, message: Job | Cancel | Replay | Rejected | NoTenantError
) -> Job | Cancel | Replay | Rejected:
    """Return a message as that of the tenant that it is bound to: one that names another, or none, is rejected."""
    match message:
        case NoTenantError():
            return Rejected(tenant, message.fault, message.document)
        case Rejected() if message.tenant != tenant:
            document = message.document
        case Job() | Cancel() | Replay() if message.tenant != tenant:
            document = message.model_dump(include={"idempotency_key", "latency_class", "operation"})
        case _:
            return message
    return Rejected(tenant, Fault(ErrorCode.TENANT_MISMATCH, "tenant"), document)


def read(value: bytes | None) -> Job | Cancel | Replay | Rejected:
    """Return what a message's bytes are.

    Raises :class:`NoTenantError` where they do not say whose they are, :class:`UnreadableError` where there are none.
    """
    if value is None:
        raise UnreadableError(ErrorCode.INVALID_MESSAGE, "the message has no value")
    try:
        document, is_json = orjson.loads(value), True
    except orjson.JSONDecodeError:
        # Only to learn whose it is and what is wrong with it: what the strict parser refuses is never a job.
        document, is_json = lenient_object(value), False
    if not isinstance(document, dict):
        raise NoTenantError("the value is not a JSON object", None, {})
    tenant = _tenant(document)
    fault = _fault_before_schema(value, document) if is_json else _fault_before_json(value, document)
    if fault is not None:
        return Rejected(tenant, fault, document)
    try:
        return _message(value, document, tenant)
    except ValidationError as error:
        return Rejected(tenant, _fault_of(error, document), document)


def published_at(timestamp_ms: int) -> datetime:
    """Return the time of a Kafka record, in milliseconds since the epoch; the client sets it, and may set anything."""
    latest = (_END_OF_TIME - _EPOCH) // timedelta(milliseconds=1)
    return _EPOCH + timedelta(milliseconds=max(0, min(timestamp_ms, latest)))


def _tenant(document: Mapping[str, Any]) -> str:
    if "tenant" not in document:
        raise NoTenantError("tenant: missing", "tenant", document)
    try:
        return _TENANT.validate_python(document["tenant"], strict=True)
    except ValidationError:
        raise NoTenantError("tenant: not a tenant id", "tenant", document) from None


def _fault_before_json(value: bytes, document: dict[str, Any]) -> Fault:
    if len(value) > MAX_JOB_BYTES:
        return Fault(ErrorCode.TOO_LARGE)
    return Fault(ErrorCode.INVALID_MESSAGE, fault_path(document))


def _fault_before_schema(value: bytes, document: dict[str, Any]) -> Fault | None:
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
    may_be_deep = value.count(b"[") + value.count(b"{") > MAX_NESTING
    if b"\\u0000" in value or (may_be_deep and nests_too_deep(document)):
        path = fault_path(document)
        return None if path is None else Fault(ErrorCode.INVALID_MESSAGE, path)
    if len(document) > len(_OWN_FIELDS):
        unknown = next(name for name in document if name not in _OWN_FIELDS)
        return Fault(ErrorCode.UNKNOWN_FIELD, told([unknown]))
    return None


def _largest_field(document: Mapping[str, Any]) -> str | None:
    sizes = {name: _size(document[name]) for name in document if name in _OWN_FIELDS}
    return max(sizes, key=lambda name: sizes[name], default=None)


def _size(value: object) -> int:
    """Return the length of a value's JSON; one that cannot be written, being nested too deep, counts as huge."""
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError:
        return 2 * MAX_JOB_BYTES


def _message(value: bytes, document: Mapping[str, Any], tenant: str) -> Job | Cancel | Replay | Rejected:
    # From JSON and strictly: "5" is no number, and the published JSON Schema says the same.
    match document.get("type", "job"):
        case "cancel":
            return Cancel.model_validate_json(value, strict=True)
        case "replay":
            return Replay.model_validate_json(value, strict=True)
    job = Job.model_validate_json(value, strict=True)
    if job.deadline is not None and job.deadline >= _END_OF_TIME:
        return Rejected(tenant, Fault(ErrorCode.INVALID_MESSAGE, "deadline"), document)
    if job.metadata and _size(job.metadata) > MAX_METADATA_BYTES:
        return Rejected(tenant, Fault(ErrorCode.INVALID_MESSAGE, "metadata"), document)
    return job


def _fault_of(error: ValidationError, document: Mapping[str, Any]) -> Fault:
    if error.error_count() > _MAX_ERRORS:
        # To list a million errors takes seconds and gigabytes; a few items show the same fault.
        try:
            Job.model_validate_json(orjson.dumps(_thinned(document)), strict=True)
        except ValidationError as fewer:
            error = fewer
        else:
            return Fault(ErrorCode.INVALID_MESSAGE)
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    locations = [_location(details) for details in errors]
    # Every member of a union complains; the one that got furthest is the one that was meant.
    at = max(
        (index for index, location in enumerate(locations) if location[: len(locations[0])] == locations[0]),
        key=lambda index: len(locations[index]),
    )
    path, details = told(locations[at]), errors[at]
    code = ErrorCode.INVALID_MESSAGE
    if details["type"] == "extra_forbidden":
        code = ErrorCode.UNKNOWN_FIELD
    elif locations[at][0:1] == ("messages",) and locations[at][-1] == "type":
        code = ErrorCode.UNSUPPORTED_CONTENT
    elif path is None and details["type"] == "value_error":
        # "operation chat needs messages": our own words, and their last one is the field.
        path = details["msg"].rsplit(" ", 1)[-1]
    return Fault(code, path)


def _location(details: ErrorDetails) -> tuple[Part, ...]:
    """Return an error's path without the names of union members, for which an unknown field could pose."""
    location: Sequence[Part] = details["loc"]
    end = len(location) - (details["type"] == "extra_forbidden")
    inner = (part for part in location[:end] if not (isinstance(part, str) and _is_member_of_union(part)))
    return (*inner, *location[end:])


def _is_member_of_union(part: str) -> bool:
    return part in ("str", "NamedTool") or part.startswith(_MEMBERS_OF_UNIONS)


def _thinned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _thinned(child) for name, child in islice(value.items(), len(_OWN_FIELDS))}
    if isinstance(value, list):
        return [_thinned(child) for child in value[:2]]
    return value
