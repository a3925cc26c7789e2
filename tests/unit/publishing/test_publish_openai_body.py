"""Every field of an OpenAI request is mapped, harmless, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from publish_samples import batch_line, job_of, refusal_of

from schemas.job import Job

# As OpenAI documents them for chat completions.
CHAT_FIELDS: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "mp3"},
    "frequency_penalty": 0.5,
    "function_call": "auto",
    "functions": [{"name": "f"}],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "modalities": ["text", "audio"],
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 0.5,
    "stream": True,
    "stream_options": {"include_usage": True},
    "top_logprobs": 3,
    "verbosity": "low",
    "web_search_options": {},
}
HARMLESS: dict[str, Any] = {
    "metadata": {"team": "a"},
    "prompt_cache_key": "k",
    "prompt_cache_options": {},
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "service_tier": "flex",
    "store": True,
    "user": "u-1",
}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}, "strict": True}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True}}
MAPPED: dict[str, tuple[Any, dict[str, Any]]] = {
    "model": ("gpt-x", {"model": "gpt-x"}),
    "max_tokens": (7, {"caps": {"max_output_tokens": 7}}),
    "max_completion_tokens": (8, {"caps": {"max_output_tokens": 8}}),
    "temperature": (0.5, {"params": {"temperature": 0.5}}),
    "top_p": (0.9, {"params": {"top_p": 0.9}}),
    "stop": ("END", {"params": {"stop": ["END"]}}),
    "seed": (3, {"params": {"seed": 3}}),
    "reasoning_effort": ("low", {"params": {"reasoning_effort": "low"}}),
    "tools": ([TOOL], {"tools": [TOOL]}),
    "tool_choice": ("auto", {"tool_choice": "auto"}),
    "response_format": (SCHEMA, {"response_format": SCHEMA}),
}


@pytest.mark.parametrize("name", MAPPED)
def test_mapped(name: str) -> None:
    given, expected = MAPPED[name]
    job = job_of(batch_line(**{name: given}))
    assert expected.items() <= job.items()
    Job.model_validate(job)


@pytest.mark.parametrize("name", CHAT_FIELDS)
def test_refused_by_name(name: str) -> None:
    refusal = refusal_of(batch_line(**{name: CHAT_FIELDS[name]}))
    assert (refusal.field, refusal.code) == (f"body.{name}", "unsupported_parameter")


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_fields_change_nothing_but_the_key(name: str) -> None:
    with_it, without = job_of(batch_line(**{name: HARMLESS[name]})), job_of(batch_line())
    assert with_it.pop("idempotency_key") != without.pop("idempotency_key")
    assert with_it == without


@pytest.mark.parametrize("name", [*CHAT_FIELDS, *HARMLESS])
def test_null_is_not_given(name: str) -> None:
    with_it, without = job_of(batch_line(**dict[str, Any]({name: None}))), job_of(batch_line())
    assert with_it.pop("idempotency_key") != without.pop("idempotency_key")
    assert with_it == without


@pytest.mark.parametrize(
    ("name", "value"),
    [("n", 1), ("stream", False), ("logprobs", False), ("frequency_penalty", 0), ("logit_bias", {}),
     ("modalities", ["text"]), ("parallel_tool_calls", True), ("presence_penalty", 0.0), ("verbosity", "medium")],
)  # fmt: skip
def test_neutral_values_are_taken(name: str, value: Any) -> None:
    Job.model_validate(job_of(batch_line(**{name: value})))


def test_a_field_of_tomorrow_is_refused() -> None:
    assert refusal_of(batch_line(telepathy=True)).field == "body.telepathy"


def test_a_name_that_is_no_name_is_not_repeated() -> None:
    assert refusal_of(batch_line(**dict[str, Any]({"secret text": 1}))).field == "body.?"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "content.0.image_url"),
        ({"role": "user", "content": [{"image_url": {"url": "x"}, "type": "image_url"}]}, "content.0.image_url"),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_audio"}]}, "content.1.type"),
        ({"role": "assistant", "audio": {"id": "a"}}, "audio"),
        ({"role": "assistant", "function_call": {"name": "f"}}, "function_call"),
        ({"role": "function", "name": "f", "content": "x"}, "role"),
        ({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom"}]}, "tool_calls.0.type"),
        ({"role": "assistant", "content": "x", "annotations": [{"type": "url_citation"}]}, "annotations"),
    ],
)
def test_what_a_message_cannot_say_is_refused(message: dict[str, Any], field: str) -> None:
    refused = refusal_of(batch_line(messages=[message])).field
    assert refused is not None
    # Whichever of a bad part's two fields comes first names it.
    assert refused in (f"body.messages.0.{field}", "body.messages.0.content.0.type")


def test_a_conversation_with_tools_is_a_job() -> None:
    messages = [
        {"role": "developer", "content": "Be brief.", "name": "ops"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "refusal": None, "annotations": [], "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "{}"},
    ]
    choice = {"type": "function", "function": {"name": "look_up"}}
    job = Job.model_validate(job_of(batch_line(messages=messages, tools=[TOOL], tool_choice=choice)))
    assert job.messages is not None
    assert [message.role for message in job.messages] == ["developer", "user", "assistant", "tool"]
    assert job.messages[1].text() == "a\nb"


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("tools", [{"type": "custom", "custom": {"name": "x"}}], "body.tools.0.type"),
        ("tool_choice", {"type": "allowed_tools", "allowed_tools": {}}, "body.tool_choice.type"),
        ("response_format", {"type": "grammar", "grammar": "x"}, "body.response_format.grammar"),
    ],
)
def test_other_kinds_of_tools_and_formats_are_refused(field: str, value: Any, path: str) -> None:
    assert refusal_of(batch_line(**{field: value})).field == path


def test_the_lower_cap_counts() -> None:
    assert job_of(batch_line(max_tokens=5, max_completion_tokens=9))["caps"] == {"max_output_tokens": 5}
    # Not judged here: Waybill answers it.
    assert job_of(batch_line(max_tokens=5, max_completion_tokens="many"))["caps"] == {"max_output_tokens": "many"}


@pytest.mark.parametrize("given", ["one", ["one"], ["one", "two"]])
def test_embeddings_become_embed_jobs(given: Any) -> None:
    job = Job.model_validate(job_of(batch_line(url="/v1/embeddings", model="e", input=given, encoding_format="float")))
    assert job.operation == "embed"
    assert job.input == ([given] if isinstance(given, str) else given)


@pytest.mark.parametrize(
    ("field", "value"), [("input", [1, 2]), ("input", [[1], [2]]), ("encoding_format", "base64"), ("dimensions", 256)]
)
def test_what_an_embed_job_cannot_say_is_refused(field: str, value: Any) -> None:
    line = batch_line(url="/v1/embeddings", **{"model": "e", "input": "x"} | {field: value})
    assert refusal_of(line).field == f"body.{field}"
