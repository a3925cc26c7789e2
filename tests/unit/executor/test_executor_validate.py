"""The checks of an answer: what a job asks for decides, and a broken schema is nobody's pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.usage import NO_USAGE

from services.executor.adapter import Answer
from services.executor.validate import passed, validate

PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def checks(text: str, response_format: dict[str, Any] | None = None, finish_reason: str = "stop") -> dict[str, str]:
    """Return the results by check."""
    answer = Answer({}, text, NO_USAGE, finish_reason, None)
    return {check["name"]: check["result"] for check in validate({"response_format": response_format}, answer)}


def of_schema(schema: Any) -> dict[str, Any]:
    """Return a response format."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def test_a_plain_answer_has_only_to_be_whole() -> None:
    assert checks("Because.") == {"complete": "pass"}
    assert checks("Because.", {"type": "text"}) == {"complete": "pass"}
    assert validate({}, Answer({}, "", NO_USAGE, "stop", None)) == [{"name": "complete", "result": "pass"}]


def test_an_answer_cut_off_says_so_and_is_delivered() -> None:
    found = validate({}, Answer({}, "Beca", NO_USAGE, "length", None))

    assert found == [{"name": "complete", "result": "fail"}]
    assert passed(found)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{}", "pass"),
        ('{"a": [1]}', "pass"),
        (' {"a": 1}\n', "pass"),
        ("[1]", "fail"),
        ('"text"', "fail"),
        ("null", "fail"),
        ("", "fail"),
        ("{", "fail"),
        ('```json\n{"a": 1}\n```', "fail"),
        ("{}{}", "fail"),
        ('{"a": NaN}', "fail"),
        ("[" * 5_000, "fail"),
    ],
)
def test_a_json_object_is_one(text: str, result: str) -> None:
    assert checks(text, {"type": "json_object"}) == {"complete": "pass", "json": result}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"age": 7}', {"schema": "pass"}),
        ('{"age": 7, "name": "Ada"}', {"schema": "pass"}),
        ('{"age": "seven"}', {"schema": "fail"}),
        ("{}", {"schema": "fail"}),
        ("[]", {"schema": "fail"}),
        ("no JSON", {"json": "fail"}),
    ],
)
def test_an_answer_satisfies_its_schema_or_not(text: str, expected: dict[str, str]) -> None:
    assert checks(text, of_schema(PERSON)) == {"complete": "pass", **expected}


def test_a_schema_need_not_ask_for_an_object() -> None:
    assert checks("[1, 2]", of_schema({"type": "array", "items": {"type": "integer"}}))["schema"] == "pass"


def test_a_schema_may_refer_to_itself() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}}, "additionalProperties": False}

    assert checks('{"left": {"left": {}}}', of_schema(tree))["schema"] == "pass"
    assert checks('{"left": {"right": {}}}', of_schema(tree))["schema"] == "fail"


@pytest.mark.parametrize(
    "schema",
    [{"type": "nonsense"}, {"$ref": "#/nowhere"}, {"pattern": "("}, {"minimum": "low"}, 7, None, "text"],
    ids=str,
)
def test_a_schema_that_is_none_is_an_error_and_no_pass(schema: Any) -> None:
    found = validate({"response_format": of_schema(schema)}, Answer({}, '{"age": 7}', NO_USAGE, "stop", None))

    assert {"name": "schema", "result": "error"} in found
    assert not passed(found)


def test_a_schema_reaches_neither_files_nor_the_network(tmp_path: Path) -> None:
    file = tmp_path / "anything.json"
    file.write_bytes(orjson.dumps(True))

    for outside in (file.as_uri(), "http://127.0.0.1:9/anything.json"):
        assert checks("{}", of_schema({"$ref": outside}))["schema"] == "error"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
schema_words = st.sampled_from(
    ["type", "properties", "required", "items", "$ref", "pattern", "enum", "minimum", "allOf", "const", "$defs"]
)
schemas = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["object", "#", "#/$defs/a", "(", "^a*$"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(schema_words, inner, max_size=4),
    max_leaves=10,
)


@given(schema=schemas, value=json_values)
def test_any_schema_gives_a_result(schema: Any, value: Any) -> None:
    found = checks(orjson.dumps(value).decode(), of_schema(schema))

    assert found.keys() == {"complete", "schema"}
    assert found["schema"] in ("pass", "fail", "error")


@given(value=json_values)
def test_a_constant_is_satisfied_by_itself_alone(value: Any) -> None:
    text = orjson.dumps(value).decode()

    assert checks(text, of_schema({"const": value}))["schema"] == "pass"
    assert checks(text, of_schema({"not": {"const": value}}))["schema"] == "fail"


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({}, True),
        ({"complete": "fail"}, True),
        ({"complete": "pass", "json": "pass"}, True),
        ({"json": "fail"}, False),
        ({"schema": "error"}, False),
        ({"complete": "pass", "schema": "fail"}, False),
    ],
)
def test_all_but_completeness_must_pass(results: dict[str, Any], expected: bool) -> None:
    assert passed([{"name": name, "result": result} for name, result in results.items()]) is expected
