"""Whatever is published ends as a job, as a rejection that makes a whole record, or as a dead letter. Nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiokafka import ConsumerRecord
from hypothesis import example, given, settings
from hypothesis import strategies as st
from job_mutations import CANARY, JOBS, NASTY, mutated_jobs
from support.tenants import Nobody

from schemas import entries
from schemas.codes import EntryKind, ErrorCode, Status
from schemas.dead_letter import MAX_REASON
from schemas.entries import Source
from schemas.job import Cancel, Job, Replay
from schemas.messages import Outcome
from services.classifier import arrival
from services.classifier.arrival import Arrival
from services.classifier.diagnose import MAX_NESTING
from services.classifier.intake import MAX_METADATA_BYTES, Fault, Rejected, published_at, read
from services.runtime.keyring import RecordKey
from services.runtime.ledger import ChainWriter, verify_chain
from services.runtime.master_keys import MasterKey, MasterKeys
from services.runtime.microbatch import UnreadableError
from services.runtime.settings import Settings
from services.runtime.tenant_keys import NOBODY, TenantKeys, purpose_of
from services.runtime.wakeup import Wakeups

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = UUID("019b7613-6c00-7000-8000-000000000001")
SOURCE = Source(topic="waybill.requests", partition=0, offset=7)
WAKEUPS = Wakeups(Settings(DATABASE_URL="postgresql://localhost/w", KAFKA_BOOTSTRAP_SERVERS="localhost:9092"), Nobody())
BASE: dict[str, Any] = {
    "schema_version": 1,
    "tenant": "acme",
    "latency_class": "batch",
    "messages": [{"role": "user", "content": CANARY}],
}
Ending = Fault | str | Job | Cancel | Replay
"""A rejection's fault, a dead letter's reason, or what was accepted."""


def keys_of(*tenants: str) -> TenantKeys:
    """Return the keys that intake has at hand: what makes no job needs none of its tenant's."""
    no_database: Any = None
    master = MasterKey(b"k" * 32)
    keys = TenantKeys(no_database, MasterKeys([master]))
    keys.take(
        {"tenant": tenant, "wrapped": master.wrap(purpose_of(tenant), tenant.encode()), "master_key": master.name}
        for tenant in (NOBODY, *tenants)
    )
    return keys


def intake(value: bytes | None) -> Ending:
    """Read a message, and carry it as far as pure code carries it: whatever it is, its record has to be sound."""
    try:
        message = read(value)
    except UnreadableError as error:
        return told(error)
    assert value is not None
    if isinstance(message, Rejected):
        recorded(arrival.rejection(message, value, SOURCE, keys_of(), RECORD))
        return message.fault
    if isinstance(message, Job):
        record = kafka_record(value)
        recorded(
            Arrival(
                source=arrival.source_of(record),
                tenant=message.tenant,
                identity=arrival.job_identity(message, value, record, keys_of(message.tenant)),
                record_id=RECORD,
                content=value,
                job=message,
                classification=None,
                fault=None,
            )
        )
    return message


def told(error: UnreadableError) -> str:
    """Look over what a dead letter's headers will say, and return it."""
    assert CANARY not in f"{error} {error.reason}"
    assert error.reason.isascii()
    assert 0 < len(error.reason) <= MAX_REASON
    assert error.code in ErrorCode
    return error.reason


def recorded(taken: Arrival) -> None:
    """Make the first entry and the message that follows from it, and look them over."""
    received = taken.received(RecordKey.new(RECORD), NOW)
    entries.validate(EntryKind.RECEIVED, received)
    entry = ChainWriter(RECORD).add(EntryKind.RECEIVED, received, NOW)
    assert verify_chain([entry]) is None
    assert "\\u0000" not in entry.body
    if taken.fault is None:
        return
    assert CANARY not in entry.body
    wakeup = WAKEUPS.end(taken.tenant, entry, Status.REJECTED, taken.fault.code, taken.fault.field)
    assert wakeup.value is not None
    assert CANARY.encode() not in wakeup.value
    outcome = Outcome.model_validate_json(wakeup.value)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.field) == (taken.fault.code, taken.fault.field)
    again = WAKEUPS.for_chain([entry])
    assert again == wakeup, "the sweeper sends what the stage sent"


def kafka_record(value: bytes) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord("waybill.requests", 0, 7, 1_767_225_600_000, 0, None, value, None, -1, len(value), ())


def job(**changes: Any) -> bytes:
    """Return the bytes of a small valid job with other fields."""
    return json.dumps({**BASE, **changes}).encode()


def spliced(value: bytes, **changes: Any) -> bytes:
    """Return the bytes of a job in which the string ``HERE`` is replaced by bytes that ``json.dumps`` cannot write."""
    return job(**changes).replace(b'"HERE"', value)


# -- no record can be made --------------------------------------------------------------------------------------------

UNREADABLE: dict[str, bytes | None] = {
    "no value": None,
    "nothing": b"",
    "no JSON": b'{"tenant": "acme"',
    "no UTF-8": b"\xff\xfe\x00",
    "UTF-16": json.dumps(BASE).encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + job(),
    "an array": json.dumps([BASE]).encode(),
    "a string": b'"acme"',
    "a raw control character": job(task="zz").replace(b"zz", b"\0"),
    "two values": job() + job(),
    "no tenant": json.dumps({name: value for name, value in BASE.items() if name != "tenant"}).encode(),
    "a tenant in Unicode": job(tenant="ünïcode"),
    "a tenant in capitals": job(tenant="ACME"),
    "a tenant with a line end": job(tenant="acme\n"),
    "a tenant with a lone surrogate": job(tenant="acme\ud800"),
    "a tenant that is none": job(tenant=CANARY),
    "a tenant that is a number": job(tenant=7),
    "a tenant too long": job(tenant="a" * 65),
    "brackets only": b"[" * 200_000,
    "millions of brackets": b'{"tenant": "acme", "metadata": ' + b"[" * 5_000_000,
    "quotes and backslashes only": b'{"tenant": "acme", "x": ' + b'\\"' * 500_000,
}


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
def test_what_belongs_to_nobody_is_a_dead_letter(value: bytes | None) -> None:
    assert isinstance(intake(value), str)


# -- rejected ---------------------------------------------------------------------------------------------------------


def deep(levels: int, *, opening: bytes = b"[", inner: bytes = b"1", closing: bytes = b"]") -> bytes:
    return opening * levels + inner + closing * levels


def deep_object(levels: int) -> bytes:
    return deep(levels, opening=b'{"a":', closing=b"}")


def tool(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": {"p": parameters}}}


def answer_schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": {"p": schema}}}


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


INVALID, UNKNOWN = ErrorCode.INVALID_MESSAGE, ErrorCode.UNKNOWN_FIELD
IMAGE = {"type": "image_url", "image_url": {"url": CANARY}}

REJECTED: dict[str, tuple[bytes, ErrorCode, str | None]] = {
    "no schema_version": (job(schema_version=None), ErrorCode.UNSUPPORTED_SCHEMA_VERSION, "schema_version"),
    "a later version": (job(schema_version=2), ErrorCode.UNSUPPORTED_SCHEMA_VERSION, "schema_version"),
    "a version in words": (job(schema_version="1"), ErrorCode.UNSUPPORTED_SCHEMA_VERSION, "schema_version"),
    "a version that is true": (job(schema_version=True), ErrorCode.UNSUPPORTED_SCHEMA_VERSION, "schema_version"),
    "a version of everything": (job(schema_version=[[1]]), ErrorCode.UNSUPPORTED_SCHEMA_VERSION, "schema_version"),
    "only a tenant": (b'{"tenant": "acme"}', INVALID, "schema_version"),
    "interactive": (job(latency_class="interactive"), ErrorCode.LATENCY_CLASS_REFUSED, "latency_class"),
    "no latency class": (job(latency_class=None), INVALID, "latency_class"),
    "an unknown type": (job(type=CANARY), INVALID, "type"),
    # Names
    "an unknown field": (job(max_token=5), UNKNOWN, "max_token"),
    "an unknown field within": (job(caps={"max_tokens": 5}), UNKNOWN, "caps.max_tokens"),
    "an unknown field deep within": (
        job(messages=user([{"type": "text", "text": "x", "cache": 1}])),
        UNKNOWN,
        "messages.0.content.0.cache",
    ),
    "a field with no plain name": (job(**{CANARY: 1}), UNKNOWN, "?"),
    "a field with no plain name within": (job(caps={CANARY: 1}), UNKNOWN, "caps.?"),
    "a field with a long name": (job(**{"k" * 20_000: 1}), UNKNOWN, "?"),
    "a field with no name": (job(**{"": 1}), UNKNOWN, "?"),
    "a field named like a part of a union": (job(**{"constrained-str": 1}), UNKNOWN, "?"),
    "a great many unknown fields": (job(**{f"k{n}": n for n in range(50_000)}), UNKNOWN, "k0"),
    # A record would keep these names for ever, and they are the caller's data.
    "a label's name": (job(labels={"jane_doe": 5}), INVALID, "labels"),
    "a metadata name": (spliced(b"NaN", metadata={"jane_doe": "HERE"}), INVALID, "metadata"),
    "a name in a tool's parameters": (
        spliced(b"NaN", tools=[tool({"jane_doe": "HERE"})]),
        INVALID,
        "tools.0.function.parameters",
    ),
    # Values
    "a negative cap": (job(caps={"max_output_tokens": -1}), INVALID, "caps.max_output_tokens"),
    "a negative price": (job(caps={"max_cost_usd": "-0.01"}), INVALID, "caps.max_cost_usd"),
    "a price that is no number": (job(caps={"max_cost_usd": "NaN"}), INVALID, "caps.max_cost_usd"),
    "a price beyond all money": (job(caps={"max_cost_usd": "1e999999999"}), INVALID, "caps.max_cost_usd"),
    "a number in quotes": (job(caps={"max_output_tokens": "5"}), INVALID, "caps.max_output_tokens"),
    "a number of 5,000 digits": (spliced(b"9" * 5_000, params={"seed": "HERE"}), INVALID, "params.seed"),
    "a number that a double cannot hold": (spliced(b"9" * 30, metadata={"n": "HERE"}), INVALID, "metadata"),
    "a deadline without a zone": (job(deadline="2027-01-01T00:00:00"), INVALID, "deadline"),
    "a deadline as a number": (job(deadline=4_102_444_800), INVALID, "deadline"),
    "a deadline with no UTC time": (job(deadline="9999-12-31T23:59:59-23:59"), INVALID, "deadline"),
    "a key of 20,000 characters": (job(idempotency_key="k" * 20_000), INVALID, "idempotency_key"),
    "a key of another type": (job(idempotency_key=["k"]), INVALID, "idempotency_key"),
    "metadata too large": (job(metadata={"m": "x" * MAX_METADATA_BYTES}), INVALID, "metadata"),
    # Characters
    "a NUL": (job(task="a\0b"), INVALID, "task"),
    "a NUL in a message": (job(messages=user("a\0b")), INVALID, "messages.0.content"),
    "a NUL in a name": (job(**{"a\0": 1}), INVALID, "?"),
    "a NUL in metadata": (job(metadata={"a": [{"b": "\0"}]}), INVALID, "metadata"),
    "a lone surrogate": (job(idempotency_key="k\ud800"), INVALID, "idempotency_key"),
    "a lone surrogate in a name": (job(**{"\udfff": 1}), INVALID, "?"),
    "a lone surrogate in a latency class": (job(latency_class="\ud800"), INVALID, "latency_class"),
    "bytes that are no UTF-8": (job(task="zz").replace(b"zz", b"z\xff"), INVALID, "task"),
    "NaN": (job(params={"temperature": float("nan")}), INVALID, "params.temperature"),
    "infinity": (job(params={"temperature": float("inf")}), INVALID, "params.temperature"),
    "infinity in digits": (spliced(b"1e999", params={"temperature": "HERE"}), INVALID, "params.temperature"),
    # Sizes
    "20 MB of prompt": (job(messages=user("x" * 20_000_000)), ErrorCode.TOO_LARGE, "messages"),
    "20 MB in a field of its own": (job(extra="x" * 20_000_000), ErrorCode.TOO_LARGE, "messages"),
    "20 MB, nested too deep": (
        spliced(deep(500), messages=user("x" * 20_000_000), metadata={"a": "HERE"}),
        ErrorCode.TOO_LARGE,
        "metadata",
    ),
    "20 MB that are no JSON": (
        spliced(b"NaN", messages=user("x" * 20_000_000), task="HERE"),
        ErrorCode.TOO_LARGE,
        None,
    ),
    "100,000 messages": (job(messages=user("x") * 100_000), INVALID, "messages"),
    "4,000 bad messages": (job(messages=[5] * 4_000), INVALID, "messages.0"),
    "50,000 faults": (
        job(messages=user([{}] * 256) * 100),
        ErrorCode.UNSUPPORTED_CONTENT,
        "messages.0.content.0.type",
    ),
    # Depth
    **{
        f"{levels} levels of {shape.__name__} in {where}": (spliced(shape(levels), **changes), INVALID, path)
        for levels in (MAX_NESTING + 1, 254, 1_100, 100_000)
        for shape in (deep, deep_object)
        for where, changes, path in (
            ("metadata", {"metadata": {"a": "HERE"}}, "metadata"),
            ("tools", {"tools": [tool("HERE")]}, "tools.0.function.parameters"),
            ("a schema", {"response_format": answer_schema("HERE")}, "response_format.json_schema.schema"),
            ("an unknown field", {"extra": "HERE"}, "extra"),
        )
    },
    "deep, with brackets in a string": (
        spliced(deep(5_000, inner=b'"]]\\"]}"'), metadata={"a": "HERE"}),
        INVALID,
        "metadata",
    ),
    # Content
    "an image": (job(messages=user([IMAGE])), ErrorCode.UNSUPPORTED_CONTENT, "messages.0.content.0.type"),
    "an image behind text": (
        job(messages=user([{"type": "text", "text": "x"}, IMAGE])),
        ErrorCode.UNSUPPORTED_CONTENT,
        "messages.0.content.1.type",
    ),
    "no content": (job(messages=[{"role": "user"}]), INVALID, "messages.0"),
    "no messages": (job(messages=[]), INVALID, "messages"),
    "no input": (job(operation="embed", messages=None), INVALID, "input"),
    "a tool choice within": (
        job(tool_choice={"type": "function", "function": {"name": "f", "strict": True}}),
        UNKNOWN,
        "tool_choice.function.strict",
    ),
    # Other messages
    "a cancel of no key": (b'{"schema_version": 1, "type": "cancel", "tenant": "acme"}', INVALID, "idempotency_key"),
    "a cancel of more": (job(type="cancel", idempotency_key="k"), UNKNOWN, "latency_class"),
    "a replay of no record": (
        b'{"schema_version": 1, "type": "replay", "tenant": "acme", "record_id": 5}',
        INVALID,
        "record_id",
    ),
}


@pytest.mark.parametrize(("value", "code", "field"), REJECTED.values(), ids=REJECTED)
def test_what_is_wrong_is_told_by_code_and_path(value: bytes, code: ErrorCode, field: str | None) -> None:
    assert intake(value) == Fault(code, field)


@pytest.mark.parametrize(
    "wrong", [None, True, -1, 0.5, "", CANARY, [], [[]], {}, {"": {}}, [None], {CANARY: [1]}], ids=str
)
@pytest.mark.parametrize("field", Job.model_fields)
def test_a_value_of_the_wrong_type_is_told_at_its_field(field: str, wrong: Any) -> None:
    ending = intake(orjson.dumps({**JOBS[0], field: wrong}))
    if isinstance(ending, Fault):
        assert ending.field is not None
        assert ending.field.split(".")[0] == field
    else:
        assert isinstance(ending, Job | Cancel | Replay) or (field == "tenant" and isinstance(ending, str))


# -- accepted ---------------------------------------------------------------------------------------------------------

ACCEPTED: dict[str, bytes] = {
    **{f"sample {number}": orjson.dumps(document) for number, document in enumerate(JOBS)},
    "an escaped backslash before u0000": job(messages=user("\\u0000")),
    "100 levels": spliced(deep(MAX_NESTING - 1), metadata={"a": "HERE"}),
    "4,096 messages": job(messages=user("x") * 4_096),
    "16 MB of prompt": job(messages=user("x" * (16 * 1024 * 1024 - 200))),
    "text in every script": job(messages=user("ünïcödé 漢字 🧾 \u202e\u200b\ufffe"), idempotency_key="ключ"),
}


@pytest.mark.parametrize("value", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_right_is_a_job(value: bytes) -> None:
    assert isinstance(intake(value), Job)


def test_of_a_field_given_twice_the_last_counts_for_every_parser() -> None:
    value = (
        job()
        .replace(b"{", b'{"tenant": "other", "task": "first", ', 1)
        .replace(b'"messages"', b'"task":"last","messages"')
    )
    ending = intake(value)
    assert isinstance(ending, Job)
    assert (ending.tenant, ending.task) == ("acme", "last")
    rejected = read(value.replace(b'"batch"', b"NaN"))
    assert isinstance(rejected, Rejected)
    assert (rejected.tenant, rejected.document["task"]) == ("acme", "last")


def test_cancels_and_replays_are_read() -> None:
    cancel = {"schema_version": 1, "type": "cancel", "tenant": "acme", "idempotency_key": "k"}
    assert isinstance(intake(orjson.dumps(cancel)), Cancel)
    replay = {"schema_version": 1, "type": "replay", "tenant": "acme", "record_id": str(RECORD)}
    assert isinstance(intake(orjson.dumps(replay)), Replay)


@pytest.mark.parametrize("timestamp", [-(2**63), -1, 0, 1_767_225_600_123, 2**62, 2**63 - 1])
def test_any_timestamp_is_a_time(timestamp: int) -> None:
    moment = published_at(timestamp)
    assert moment.tzinfo is UTC
    if 0 <= timestamp < 2**60:
        assert (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) == timestamp


# -- anything ---------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
@example(b"{" * 3_000)
def test_bytes_end_somewhere(value: bytes) -> None:
    intake(value)


@settings(max_examples=400, deadline=None)
@given(mutated_jobs(NASTY), st.booleans())
def test_mutated_jobs_end_somewhere_and_tell_no_value(document: Any, ascii_only: bool) -> None:
    intake(json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(JOBS), st.integers(0, 10_000), st.integers(0, 20), st.binary(max_size=6))
def test_damaged_jobs_end_somewhere_and_tell_no_value(document: Any, at: int, lost: int, found: bytes) -> None:
    value = orjson.dumps(document)
    at %= len(value)
    intake(value[:at] + found + value[at + lost :])
