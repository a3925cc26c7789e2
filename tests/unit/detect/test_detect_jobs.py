"""Jobs with placeholders: one value, one placeholder in all of a job's texts, and the way back."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.detect import (
    Leaf,
    UnknownTypeError,
    find,
    leaves_of,
    redact_job,
    redact_texts,
    redactor,
    restore,
    restore_in_json,
    types_of,
    with_whole_placeholders,
)

EMAIL, CARD, MRN = "jo@example.com", "4111 1111 1111 1111", "A12345"
ASKED = types_of(["personal", "health", "credential"])
PIECES = [
    *(EMAIL, CARD, f"MRN: {MRN}", MRN, "Maria Schneider", "has diabetes", "+44 20 7946 0018", "AKIAJ5QRT2WXYZ7ABCDE"),
    *("[EMAIL_1]", "[CREDIT_CARD_1]", "EMAIL_1", "[", "]", "password = 'x8Kd03mZq71L'", "DE89370400440532013000"),
    *(" ", "\r\n", "\n\n", "1", ":", '"', "\\", "👩\u200d🚀", "e\u0301", "é", "call ", "12 Main Street"),
]
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), min_size=1, max_size=7).map("".join)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(TEXTS, st.integers(), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXTS, inner, max_size=2)),
    max_leaves=4,
)


def called(arguments: str) -> dict[str, Any]:
    """Return a message with a tool call."""
    call = {"id": "c-1", "type": "function", "function": {"name": "kb_search", "arguments": arguments}}
    return {"role": "assistant", "tool_calls": [call]}


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a job with texts wherever a job has them."""
    text = draw(TEXTS)
    parts = [{"type": "text", "text": part} for part in draw(st.lists(TEXTS, min_size=1, max_size=2))]
    return {
        "operation": "chat",
        "messages": [
            {"role": "user", "content": text},
            {"role": "user", "content": parts},
            called(draw(st.one_of(TEXTS, VALUES.map(json.dumps)))),
        ],
        "documents": [{"id": "d1", "title": draw(TEXTS), "text": draw(TEXTS)}],
        "params": {"stop": [draw(TEXTS)]},
    }


def shown(job: dict[str, Any]) -> list[str]:
    """Return all texts, those within arguments as what they say."""
    return [leaf.text for leaf in leaves_of(job)]


@given(jobs())
@settings(deadline=None, max_examples=120)
def test_what_is_left_holds_nothing_asked_for_and_leads_back(job: dict[str, Any]) -> None:
    try:
        before = shown(job)
    except ValueError:
        assert not redact_job(job, ASKED).whole
        return
    made = redact_job(job, ASKED)
    assert redact_job(job, ASKED) == made
    if not made.whole:
        return
    after = shown(made.job)
    assert [restore(text, made.placeholders) for text in after] == before
    for text in after:
        found, truncated = find(text)
        asked = [one for one in found if one.type in ASKED]
        assert not truncated
        assert with_whole_placeholders(text, asked, made.placeholders) == []


@given(jobs())
@settings(deadline=None, max_examples=60)
def test_a_placeholder_stands_for_one_value_and_never_for_itself(job: dict[str, Any]) -> None:
    made = redact_job(job)
    assert len(set(made.placeholders.values())) == len(made.placeholders)
    if made.whole:
        assert not any(name in text for text in shown(job) for name in made.placeholders)


def test_one_value_has_one_placeholder_wherever_it_stands() -> None:
    schema = {"type": "object", "properties": {"to": {"enum": [EMAIL]}}}
    job = {
        "messages": [
            {"role": "user", "content": f"I am {EMAIL}, MRN: {MRN}. Is {MRN} right? [EMAIL_1]"},
            called(f'{{"number": "{MRN}", "card": 4111111111111111, "to": "jo\\u0040example.com"}}'),
        ],
        "documents": [{"id": "d1", "title": f"From {EMAIL}", "text": "x", "source": f"mail of {EMAIL}"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        "params": {"stop": [EMAIL], "temperature": 1},
        "metadata": {"from": EMAIL},
    }
    made = redact_job(job, ASKED)
    assert made.whole
    assert made.placeholders == {
        "[EMAIL_2]": EMAIL,
        "[MEDICAL_RECORD_NUMBER_1]": MRN,
        "[CREDIT_CARD_1]": "4111111111111111",
    }
    first, call = made.job["messages"]
    assert first["content"] == (
        "I am [EMAIL_2], MRN: [MEDICAL_RECORD_NUMBER_1]. Is [MEDICAL_RECORD_NUMBER_1] right? [EMAIL_1]"
    )
    arguments = call["tool_calls"][0]["function"]["arguments"]
    assert orjson.loads(arguments) == {
        "number": "[MEDICAL_RECORD_NUMBER_1]",
        "card": "[CREDIT_CARD_1]",
        "to": "[EMAIL_2]",
    }
    assert made.job["documents"] == [{"id": "d1", "title": "From [EMAIL_2]", "text": "x"}]
    assert made.job["response_format"]["json_schema"]["schema"]["properties"]["to"]["enum"] == ["[EMAIL_2]"]
    assert made.job["params"] == {"stop": ["[EMAIL_2]"], "temperature": 1}
    assert "metadata" not in made.job
    assert made.counts == {"credit_card": 1, "email": 5, "medical_record_number": 3}


def test_only_what_is_asked_for_is_replaced() -> None:
    job = {"input": [f"{EMAIL}, MRN: {MRN}"], "operation": "embed"}
    assert redact_job(job, types_of(["health"])).job["input"] == [f"{EMAIL}, MRN: [MEDICAL_RECORD_NUMBER_1]"]
    assert redact_job(job, types_of(["email"])).job["input"] == [f"[EMAIL_1], MRN: {MRN}"]
    with pytest.raises(UnknownTypeError, match="emails, source_code"):
        types_of(["emails", "email", "source_code"])


def test_arguments_in_which_nothing_is_stay_as_they_are_written() -> None:
    written = '{ "q" : "fjords",  "n": 12345678901234567890123 }'
    assert redact_job({"messages": [called(written)]}).job["messages"] == [called(written)]


def test_more_than_a_look_can_see_is_redacted_in_several() -> None:
    text = "\n".join(f"person{number}@example.com" for number in range(2_500))
    made = redact_texts([Leaf(text)])
    assert made.whole
    assert "@" not in made.texts[0]
    assert restore(made.texts[0], made.placeholders) == text


def test_a_text_that_cannot_be_looked_at_is_replaced_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redactor, "find", lambda text, own=None: ((), "fjord" in text))
    made = redact_texts([Leaf("about the fjord", None), Leaf("about the sea", None)])
    assert (made.texts, made.whole) == (["[TEXT_1]", "about the sea"], False)
    assert made.placeholders == {"[TEXT_1]": "about the fjord"}


def test_a_name_that_cannot_be_replaced_makes_it_not_whole() -> None:
    tool = {"type": "function", "function": {"name": "123-45-6789"}}
    message = {"role": "user", "content": "SSN: 123-45-6789"}
    made = redact_job({"messages": [message], "tools": [tool]})
    assert not made.whole
    assert "123-45-6789" not in orjson.dumps(made.job).decode()


@pytest.mark.parametrize("arguments", ['{"to": "jo\\u0040example.com"', "[" * 5_000 + "]" * 5_000])
def test_what_cannot_be_read_is_not_whole(arguments: str) -> None:
    made = redact_job({"messages": [called(arguments)]})
    assert made.whole is ("\\u" not in arguments)


@given(st.text(max_size=20), st.text(max_size=20))
def test_values_put_back_into_json_leave_it_json(value: str, around: str) -> None:
    text = orjson.dumps({"a": f"{around}[EMAIL_1]{around}", "b": "[PHONE_1]"}).decode()
    assert orjson.loads(restore_in_json(text, {"[EMAIL_1]": value})) == {
        "a": restore(f"{around}[EMAIL_1]{around}", {"[EMAIL_1]": value}),
        "b": "[PHONE_1]",
    }


def test_a_name_given_twice_hides_nothing() -> None:
    assert not redact_job({"messages": [called(f'{{"a": "{EMAIL}", "a": "x"}}')]}).whole


def test_half_a_character_stays_an_escape_beside_a_placeholder() -> None:
    made = redact_job({"messages": [called(f'{{"a": "\\ud800", "b": "{EMAIL}"}}')]})
    assert made.whole
    arguments = made.job["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"a": "\ud800", "b": "[EMAIL_1]"}
    orjson.dumps(made.job)
