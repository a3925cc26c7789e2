"""What providers do not see, what comes back into answers, and what answers may not show."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from executor_builders import ALPHA, some_orders
from hypothesis import given, settings
from hypothesis import strategies as st
from support.usage import NO_USAGE

from schemas.decision import Orders
from services.detect import OwnRules, OwnRulesError, find, types_of
from services.executor import guard as guard_module
from services.executor.adapter import Answer
from services.executor.guard import Guard, guard_of
from services.executor.openai_compatible import OpenAICompatible

EMAIL, NAME, KEY = "jo@example.com", 'Jo "Fjord"\nBerg', "AKIAJ5QRT2WXYZ7ABCDE"
PERSONAL = types_of(["personal"])


def orders(*redact: str, strict: bool = False) -> Orders:
    """Return orders with a policy that asks for redaction, or for strict checks."""
    plain = some_orders()
    policy = {"redact": list(redact), "safety_mode": "strict" if strict else "standard"}
    return plain.model_copy(update={"policy": plain.policy.model_copy(update=policy)})


def asks(text: str, **fields: Any) -> dict[str, Any]:
    """Return a job with one message."""
    return {"operation": "chat", "messages": [{"role": "user", "content": text}], **fields}


def answer(text: str | None, arguments: str | None = None) -> Answer:
    """Return an answer as an adapter reads it."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if arguments is not None:
        message["tool_calls"] = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]
    return Answer({"choices": [{"message": message}]}, text or "", NO_USAGE, "stop", "small-1")


async def guarded(job: dict[str, Any], given: Orders, own: OwnRules | None = None) -> Guard:
    """Return the guard of a job that has one."""
    guard = await guard_of(job, given, lambda: own)
    assert guard is not None
    return guard


async def leak(guard: Guard, shown: Answer) -> str | None:
    """Return what the check of an answer says, or None where none was made."""
    _, checks = await guard.examine(shown)
    assert [check["name"] for check in checks] in ([], ["leak"])
    return checks[0]["result"] if checks else None


def message_of(shown: Answer) -> dict[str, Any]:
    """Return an answer's message."""
    message: dict[str, Any] = shown.output["choices"][0]["message"]
    return message


# -- what is sent ------------------------------------------------------------------------------------------------------


async def test_a_job_whose_orders_ask_for_nothing_is_sent_as_it_came() -> None:
    job = asks(f"Write to {EMAIL}.")
    guard = await guarded(job, orders())
    assert guard.sent is job
    assert guard.layout("plain-1") == "plain-1"
    assert await guard.examine(answer(KEY)) == (answer(KEY), [])


async def test_the_request_has_placeholders_only_and_the_same_ones_each_time() -> None:
    document = {"id": "d1", "text": f"{EMAIL} wrote this.", "title": f"Of {EMAIL}", "source": EMAIL, "trust": "web"}
    job = asks(f"Write to {EMAIL}.", documents=[document], metadata={"of": EMAIL})
    guard, again = [await guarded(job, orders("email")) for _ in range(2)]
    sent = OpenAICompatible().request(guard.sent, orders("email"), ALPHA).body
    assert sent == OpenAICompatible().request(again.sent, orders("email"), ALPHA).body
    assert EMAIL.encode() not in sent
    assert orjson.loads(sent)["messages"] == [
        {"role": "user", "content": "Documents:\n\n[d1] Of [EMAIL_1]\n[EMAIL_1] wrote this."},
        {"role": "user", "content": "Write to [EMAIL_1]."},
    ]
    assert (guard.layout("plain-1"), guard.safety_actions) == ("plain-1+redacted-1", ["redacted"])


PIECES = [
    *(EMAIL, "4111 1111 1111 1111", "call +44 20 7946 0018", "SSN: 123-45-6789"),
    *(" ", "\r\n", "é", "👩\u200d🚀", "[EMAIL_1]"),
]
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), min_size=1, max_size=6).map("".join)


@given(TEXTS, TEXTS, TEXTS)
@settings(deadline=None, max_examples=80)
async def test_nothing_asked_for_reaches_the_bytes_of_a_request(first: str, title: str, text: str) -> None:
    job = asks(first, documents=[{"id": "d1", "title": title, "text": text}])
    guard = await guarded(job, orders("personal"))
    body = orjson.loads(OpenAICompatible().request(guard.sent, orders("personal"), ALPHA).body)
    shown = "\n\n".join(message["content"] for message in body["messages"])
    assert {one.type for one in find(shown)[0]} & PERSONAL == set()


@pytest.mark.parametrize("redact", [["nothing_finds_this"], ["email", "source_code"]])
async def test_what_nothing_can_find_is_not_sent(redact: list[str]) -> None:
    assert await guard_of(asks("Hello."), orders(*redact), lambda: None) is None


async def test_what_cannot_be_redacted_completely_is_not_sent() -> None:
    tools = [{"type": "function", "function": {"name": "123-45-6789"}}]
    assert await guard_of(asks("SSN: 123-45-6789", tools=tools), orders("personal"), lambda: None) is None
    assert await guard_of(asks("SSN: 123-45-6789", tools=tools), orders("credential"), lambda: None) is not None


# -- what comes back --------------------------------------------------------------------------------------------------


async def test_values_come_back_into_texts_and_into_arguments_of_tools() -> None:
    guard = await guarded(asks(f"Write to {EMAIL}."), orders("email"))
    given = answer("Dear [EMAIL_1], not [EMAIL_2].", '{"to":["[EMAIL_1]"]}')
    shown, checks = await guard.examine(given)
    assert checks == [{"name": "leak", "result": "pass"}]
    assert shown.text == message_of(shown)["content"] == f"Dear {EMAIL}, not [EMAIL_2]."
    assert message_of(shown)["tool_calls"][0]["function"] == {"name": "f", "arguments": f'{{"to":["{EMAIL}"]}}'}
    assert message_of(given)["content"].startswith("Dear [EMAIL_1]")


@pytest.mark.parametrize("response_format", [None, {"type": "json_object"}])
async def test_an_answer_that_is_json_stays_json(response_format: dict[str, str] | None) -> None:
    guard = Guard(asks("", response_format=response_format), {}, {"[PERSON_1]": NAME}, frozenset({"person"}))
    shown, _ = await guard.examine(answer('{"name": "[PERSON_1]"}', '{"name": "Dr [PERSON_1]"}'))
    assert orjson.loads(shown.text) == {"name": NAME}
    assert orjson.loads(message_of(shown)["tool_calls"][0]["function"]["arguments"]) == {"name": f"Dr {NAME}"}
    plain, _ = await Guard({}, {}, {"[PERSON_1]": NAME}, frozenset({"person"})).examine(answer("Dr [PERSON_1]"))
    assert plain.text == f"Dr {NAME}"


@pytest.mark.parametrize("output", [{}, {"choices": None}, {"choices": [1, {}, {"message": {"tool_calls": [2, {}]}}]}])
async def test_an_answer_of_any_shape_is_examined(output: dict[str, Any]) -> None:
    guard = Guard({}, {}, {"[EMAIL_1]": EMAIL}, frozenset({"email"}), strict=True)
    shown, checks = await guard.examine(Answer(output, "", None, "stop", None))
    assert shown.output == output
    assert checks == [{"name": "leak", "result": "pass"}]


# -- leaks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "result"),
    [
        (answer("Dear [EMAIL_1], it is done."), "pass"),
        (answer("Dear al@example.com, it is done."), "fail"),
        (answer(f"Dear {EMAIL}, it is done."), "fail"),
        (answer("Done.", '{"to": "al@example.com"}'), "fail"),
        (answer("Done.", '{"to": "al\\u0040example.com"}'), "fail"),
        (answer('{"to": "al\\u0040example.com"}'), "fail"),
        (answer(f"The key is {KEY}."), "pass"),
    ],
)
async def test_an_answer_may_not_show_what_was_to_be_redacted(shown: Answer, result: str) -> None:
    guard = await guarded(asks(f"Write to {EMAIL}."), orders("email"))
    assert await leak(guard, shown) == result


async def test_a_redacted_value_is_a_leak_where_nothing_gives_it_away() -> None:
    guard = await guarded(asks("MRN: QX81934 was moved."), orders("health"))
    assert await leak(guard, answer("It was QX81934, was it not?")) == "fail"
    assert await leak(guard, answer("It was QX819345, was it not?")) == "pass"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("Nothing to see.", "pass"),
        (f"The address is {EMAIL}.", "pass"),
        ("Call +442079460018.", "pass"),
        ("The address is al@example.com.", "fail"),
        (f"The key is {KEY}.", "fail"),
    ],
)
async def test_strict_checks_let_pass_only_what_the_job_has(text: str, result: str) -> None:
    guard = await guarded(asks(f"From {EMAIL}, +44 20 7946 0018."), orders(strict=True))
    assert await leak(guard, answer(text)) == result


async def test_an_answer_that_cannot_be_looked_at_has_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = await guarded(asks("Hello."), orders("email"))
    monkeypatch.setattr(guard_module, "find", lambda text: ((), True))
    assert await leak(guard, answer("Hello.")) == "error"
    monkeypatch.delattr(guard_module, "find")
    assert await leak(guard, answer("Hello.")) == "error"


RULES = b"""
types: {customer_number: personal}
patterns: [{id: k, type: customer_number, regex: 'KD-[0-9]{8}', confidence: 1}]
"""


async def test_a_tenants_own_rules_find_what_placeholders_stand_for() -> None:
    own = OwnRules.compiled([("own.yaml", RULES)])
    guard = await guarded(asks("Who is KD-12345678?"), orders("personal"), own)
    assert "KD-12345678" not in orjson.dumps(guard.sent).decode()
    assert list(guard.placeholders.values()) == ["KD-12345678"]
    assert await leak(guard, answer("Perhaps KD-87654321.")) == "fail"
    plain = await guarded(asks("Who is KD-12345678?"), orders("personal"))
    assert plain.placeholders == {}


async def test_a_job_whose_tenants_rules_cannot_be_used_is_not_sent() -> None:
    def unusable() -> OwnRules:
        raise OwnRulesError("own.yaml", "is of a newer release")

    assert await guard_of(asks("Hello."), orders("personal"), unusable) is None
    assert await guard_of(asks("Hello."), orders(), unusable) is not None


async def test_an_answer_that_values_cannot_be_put_back_into_has_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = await guarded(asks(f"Write to {EMAIL}."), orders("personal"))

    def broken(*_: object) -> str:
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    monkeypatch.setattr(guard_module, "restore", broken)
    assert await leak(guard, answer("To [EMAIL_1].")) == "error"
