"""The OpenAI-compatible wire format: what shapes come back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.usage import NO_USAGE

from schemas.codes import FailureClass
from services.executor.adapter import Answer, Failure
from services.executor.openai_compatible import MAX_RETRY_AFTER_MS, OpenAICompatible

ADAPTER = OpenAICompatible()
F = FailureClass


def read(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer | Failure:
    """Read a response whose body is JSON."""
    return ADAPTER.read(status, headers or {}, orjson.dumps(body))


def failed(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Failure:
    """Read a response that has to be a failure."""
    outcome = read(body, status, headers)
    assert isinstance(outcome, Failure)
    return outcome


def answered(body: Any) -> Answer:
    """Read a response that has to be an answer."""
    outcome = read(body)
    assert isinstance(outcome, Answer)
    return outcome


def completion(message: Any = None, **changes: Any) -> dict[str, Any]:
    """Return a chat completion."""
    choice = {"index": 0, "message": message or {"role": "assistant", "content": "Because."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    return {"id": "x", "object": "chat.completion", "model": "small-1", "choices": [choice], "usage": usage, **changes}


# -- answers ------------------------------------------------------------------------------------------------------


def test_an_answer_is_read() -> None:
    body = completion(
        usage={
            "prompt_tokens": 120,
            "completion_tokens": 30,
            "prompt_tokens_details": {"cached_tokens": 100},
            "completion_tokens_details": {"reasoning_tokens": 20},
        }
    )

    answer = answered(body)

    assert (answer.text, answer.finish_reason, answer.response_model) == ("Because.", "stop", "small-1")
    assert answer.usage == {
        "input_tokens": 120,
        "cached_input_tokens": 100,
        "output_tokens": 30,
        "reasoning_tokens": 20,
    }
    assert answer.output == body


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": None}, {"prompt_tokens": -1}])
def test_usage_may_be_nonsense(usage: Any) -> None:
    assert answered(completion(usage=usage)).usage == NO_USAGE


@pytest.mark.parametrize("usage", [None, [], "many"])
def test_missing_usage_is_not_known_rather_than_nothing(usage: Any) -> None:
    assert answered(completion(usage=usage)).usage is None
    body = completion()
    del body["usage"]
    assert answered(body).usage is None


@pytest.mark.parametrize("tokens", [True, 1.5, "12", 2**31, 2**63, None, [1]])
def test_token_counts_are_numbers_that_can_be_stored(tokens: Any) -> None:
    body = completion(usage={"prompt_tokens": tokens, "prompt_tokens_details": tokens, "completion_tokens": 3})

    assert answered(body).usage == {**NO_USAGE, "output_tokens": 3}


def test_an_answer_cut_off_by_its_cap_says_so() -> None:
    body = completion()
    body["choices"][0]["finish_reason"] = "length"

    assert answered(body).finish_reason == "length"


@pytest.mark.parametrize("finish_reason", [None, 3, {}])
def test_a_finish_reason_may_be_missing(finish_reason: Any) -> None:
    body = completion()
    body["choices"][0]["finish_reason"] = finish_reason

    assert answered(body).finish_reason == "stop"


def test_tool_calls_come_without_content() -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "search", "arguments": "{"}}]
    answer = answered(completion({"role": "assistant", "content": None, "tool_calls": calls}))

    assert answer.text == ""
    assert answer.output["choices"][0]["message"]["tool_calls"] == calls


def test_an_empty_answer_is_an_answer() -> None:
    assert answered(completion({"role": "assistant", "content": ""})).text == ""


def test_embeddings_are_read() -> None:
    body = {"object": "list", "model": "e", "data": [{"index": 0, "embedding": [0.1]}], "usage": {"prompt_tokens": 4}}

    answer = answered(body)

    assert (answer.text, answer.output, answer.response_model) == ("", body, "e")
    assert answer.usage["input_tokens"] == 4


def test_a_provider_s_words_are_short_and_can_be_stored() -> None:
    body = completion(model="m\x00\u202e\n" + "x" * 500)
    body["choices"][0]["finish_reason"] = "sto\x00p"

    answer = answered(body)

    assert answer.response_model == "m" + "x" * 124
    assert answer.finish_reason == "stop"


# -- failures in a complete answer --------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [{}, {"message": None}, {"message": {"role": "assistant", "content": "Be"}}])
def test_a_filtered_answer_may_lack_its_message_and_was_charged(rest: dict[str, Any]) -> None:
    outcome = failed(completion(choices=[{"index": 0, "finish_reason": "content_filter", **rest}]))

    assert outcome.failure_class is F.CONTENT_FILTERED
    assert outcome.usage is not None
    assert outcome.usage["output_tokens"] == 3


def test_a_refusal_is_not_an_answer_and_was_charged() -> None:
    outcome = failed(completion({"role": "assistant", "content": None, "refusal": "I can't."}))

    assert outcome.failure_class is F.REFUSED
    assert outcome.usage is not None
    assert outcome.finish_reason == "stop"


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "text",
        7,
        {},
        {"choices": []},
        {"choices": None},
        {"choices": {"0": {}}},
        {"choices": ["text"]},
        {"choices": [{"message": "text"}]},
        {"choices": [{"finish_reason": "stop"}]},
        {"choices": [{"message": {"content": None}}]},
        {"choices": [{"message": {"content": [{"type": "text"}]}}]},
        {"choices": [{"message": {"content": None, "tool_calls": []}}]},
        {"data": "text"},
        {"error": {"message": "sorry"}},
    ],
)
def test_what_is_no_completion_is_malformed(body: Any) -> None:
    assert failed(body).failure_class is F.MALFORMED_ANSWER


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"choices":[', b"\xff\xfe", b"\x00", b"[" * 5_000, b"NaN"])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    assert ADAPTER.read(200, {}, body) == Failure(F.MALFORMED_ANSWER)


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, F.INVALID_REQUEST),
        (401, F.AUTH),
        (402, F.QUOTA_EXHAUSTED),
        (403, F.AUTH),
        (404, F.MODEL_GONE),
        (408, F.UNAVAILABLE),
        (413, F.CONTEXT_TOO_LONG),
        (418, F.INVALID_REQUEST),
        (422, F.INVALID_REQUEST),
        (429, F.RATE_LIMITED),
        (500, F.UNAVAILABLE),
        (502, F.UNAVAILABLE),
        (503, F.OVERLOADED),
        (504, F.UNAVAILABLE),
        (529, F.OVERLOADED),
        (204, F.UNAVAILABLE),
        (302, F.UNAVAILABLE),
        (599, F.UNAVAILABLE),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no", "type": "x", "param": None, "code": None}},
        {"error": {"message": "no", "code": 429}},
        {"error": {"message": "no", "code": "429"}},
        {"error": "no"},
        {"error": None},
        {"object": "error", "message": "no", "type": "BadRequestError", "code": 400},
        {"detail": [{"msg": "no"}]},
        ["no"],
        None,
    ],
    ids=["null code", "int code", "numeric string", "string", "null", "bare object", "detail", "list", "nothing"],
)
def test_without_a_known_word_the_status_decides(status: int, expected: FailureClass, body: Any) -> None:
    assert failed(body, status) == Failure(expected)


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, {"code": "context_length_exceeded"}, F.CONTEXT_TOO_LONG),
        (400, {"type": "exceed_context_size_error", "code": 400}, F.CONTEXT_TOO_LONG),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, F.QUOTA_EXHAUSTED),
        (400, {"code": "model_not_found"}, F.MODEL_GONE),
        (400, {"code": "content_filter"}, F.CONTENT_FILTERED),
        (500, {"type": "overloaded"}, F.OVERLOADED),
        (503, {"type": "unavailable_error", "code": 503}, F.OVERLOADED),
    ],
)
def test_a_known_word_decides_before_the_status(status: int, error: dict[str, Any], expected: FailureClass) -> None:
    assert failed({"error": error}, status).failure_class is expected
    assert failed(error, status).failure_class is expected


def test_the_error_of_an_error_page_is_told_by_its_status() -> None:
    assert ADAPTER.read(502, {}, b"<html>Bad gateway</html>") == Failure(F.UNAVAILABLE)


# -- how long to wait ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2_000),
        ({"retry-after": "0.5"}, 500),
        ({"retry-after": "0"}, 0),
        ({"retry-after-ms": "250"}, 250),
        ({"retry-after": "1", "retry-after-ms": "0"}, 1_000),
        ({"retry-after": "1", "retry-after-ms": "1500"}, 1_500),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "retry-after-ms": "10"}, 10),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, None),
        ({"retry-after": str(MAX_RETRY_AFTER_MS // 1_000)}, MAX_RETRY_AFTER_MS),
        ({"retry-after": str(MAX_RETRY_AFTER_MS // 1_000 + 1)}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
    ],
    ids=str,
)
def test_the_longest_sensible_delay_counts(headers: dict[str, str], expected: int | None) -> None:
    assert failed({"error": "slow down"}, 429, headers).retry_after_ms == expected


def test_the_provider_s_id_is_kept_short() -> None:
    assert ADAPTER.request_id({}) is None
    assert ADAPTER.request_id({"x-request-id": ""}) is None
    assert ADAPTER.request_id({"x-request-id": "r" * 500}) == "r" * 128


# -- anything at all ----------------------------------------------------------------------------------------------

keys = st.sampled_from(
    ["choices", "message", "content", "refusal", "tool_calls", "finish_reason", "usage", "prompt_tokens", "data",
     "completion_tokens", "prompt_tokens_details", "cached_tokens", "error", "code", "type", "model"]
)  # fmt: skip
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=12)
    | st.sampled_from(["stop", "content_filter", "insufficient_quota"])
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5), max_leaves=25
)
mutated = st.builds(
    lambda choice, usage, rest: {"choices": [choice], "usage": usage, **rest},
    st.dictionaries(keys, anything, max_size=4),
    anything,
    st.dictionaries(keys, anything, max_size=2),
)
some_headers = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "x-request-id", "content-type"]),
    st.text(max_size=12) | st.floats().map(str) | st.integers().map(str),
)


@given(
    status=st.integers(100, 599) | st.just(200),
    headers=some_headers,
    body=st.one_of(st.binary(max_size=40), anything.map(orjson.dumps), mutated.map(orjson.dumps)),
)
def test_nothing_that_a_provider_may_send_raises(status: int, headers: dict[str, str], body: bytes) -> None:
    outcome = ADAPTER.read(status, headers, body)

    request_id = ADAPTER.request_id(headers)
    assert request_id is None or 1 <= len(request_id) <= 128
    assert not (isinstance(outcome, Answer) and status != 200)
    if outcome.usage is not None:
        assert all(isinstance(count, int) and 0 <= count < 2**31 for count in outcome.usage.values())
    for word in (outcome.finish_reason, outcome.response_model):
        assert word is None or (len(word) <= 128 and "\x00" not in word)
    if isinstance(outcome, Failure):
        assert outcome.retry_after_ms is None or 0 <= outcome.retry_after_ms <= MAX_RETRY_AFTER_MS
    else:
        assert orjson.loads(orjson.dumps(outcome.output)) == outcome.output
