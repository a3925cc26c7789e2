"""Feedback as it is read: strictly, and told apart by what it says."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import entries
from schemas.codes import EntryKind, ErrorCode
from services.recorder.feedback import entry_of, parse
from services.runtime.microbatch import UnreadableError

RECORD = UUID("01990000-0000-7000-8000-000000000001")
OTHER = UUID("01990000-0000-7000-8000-000000000002")
VERDICTS = ("accepted", "edited", "re_asked", "escalated", "rejected")
SECRET = "s3cr3t-words"


def feedback(**fields: Any) -> dict[str, Any]:
    return {"schema_version": 1, "tenant": "acme", "record_id": str(RECORD), "verdict": "accepted"} | fields


def said(document: object) -> UnreadableError:
    value = document if isinstance(document, bytes) else orjson.dumps(document)
    with pytest.raises(UnreadableError) as error:
        parse(value)
    return error.value


@pytest.mark.parametrize(
    ("document", "code", "reason"),
    [
        (b"", "invalid_message", "the value is not a JSON object"),
        (b"[1]", "invalid_message", "the value is not a JSON object"),
        (b'{"tenant": "' + SECRET.encode(), "invalid_message", "the value is not a JSON object"),
        (b'{"a": "\xff"}', "invalid_message", "the value is not a JSON object"),
        (feedback(**{SECRET: 1}), "unknown_field", "a field that feedback does not have"),
        (feedback(comment=SECRET), "unknown_field", "a field that feedback does not have"),
        (feedback(schema_version=2), "unsupported_schema_version", "schema_version: not as the schema has it"),
        (feedback(tenant=SECRET + "!"), "invalid_message", "tenant: not as the schema has it"),
        (feedback(verdict=SECRET), "invalid_message", "verdict: not as the schema has it"),
        (feedback(record_id=SECRET), "invalid_message", "record_id: not as the schema has it"),
        (feedback(edit_ratio=1.01), "invalid_message", "edit_ratio: not as the schema has it"),
        (feedback(edit_ratio="0.5"), "invalid_message", "edit_ratio: not as the schema has it"),
        (feedback(reason_code=SECRET + " and more"), "invalid_message", "reason_code: not as the schema has it"),
        (feedback(idempotency_key="k"), "invalid_message", "names not exactly one of record_id and idempotency_key"),
        (feedback(record_id=None), "invalid_message", "names not exactly one of record_id and idempotency_key"),
        ({"schema_version": 1, "tenant": "acme", "record_id": str(RECORD)}, "invalid_message", "verdict: missing"),
    ],
)
def test_what_is_wrong_is_told_by_field_and_never_by_value(document: object, code: ErrorCode, reason: str) -> None:
    error = said(document)
    assert (error.code, error.reason) == (code, reason)
    assert SECRET not in str(error)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e-9"])
def test_no_number_outside_the_range_gets_in(number: str) -> None:
    text = orjson.dumps(feedback(edit_ratio=0.5)).replace(b"0.5", number.encode())
    assert said(text).code == ErrorCode.INVALID_MESSAGE


ratios = st.none() | st.floats(0, 1) | st.integers(0, 1)
codes = st.none() | st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@given(st.sampled_from(VERDICTS), ratios, codes)
def test_the_same_verdict_is_the_same_entry_wherever_it_was_published(verdict: str, ratio: Any, code: Any) -> None:
    by_id = parse(orjson.dumps(feedback(verdict=verdict, edit_ratio=ratio, reason_code=code)))
    by_key = parse(
        orjson.dumps(
            feedback(record_id=None, idempotency_key="k", verdict=verdict, edit_ratio=ratio, reason_code=code),
            option=orjson.OPT_SORT_KEYS,
        )
    )
    entry_id, data = entry_of(RECORD, by_id)
    assert entry_of(RECORD, by_key) == (entry_id, data)
    assert entry_of(OTHER, by_id)[0] != entry_id
    entries.validate(EntryKind.FEEDBACK, data)
    assert orjson.loads(orjson.dumps(data)) == data


@given(
    st.lists(st.tuples(st.sampled_from(VERDICTS), ratios, codes), min_size=2, unique_by=lambda t: (t[0], t[1], t[2]))
)
def test_another_verdict_is_another_entry(given_ones: list[tuple[str, Any, Any]]) -> None:
    ids = {
        entry_of(RECORD, parse(orjson.dumps(feedback(verdict=v, edit_ratio=r, reason_code=c))))[0]
        for v, r, c in given_ones
    }
    assert len(ids) == len(given_ones)


def test_minus_zero_is_zero() -> None:
    zero, minus = (parse(orjson.dumps(feedback(edit_ratio=ratio))) for ratio in (0.0, -0.0))
    assert entry_of(RECORD, zero) == entry_of(RECORD, minus)
    assert str(entry_of(RECORD, minus)[1]["edit_ratio"]) == "0.0"
