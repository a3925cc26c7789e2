"""What the simulator answers, in OpenAI's shapes."""

from __future__ import annotations

import base64
import json
from struct import unpack
from typing import Any

import jsonschema
import pytest
from simulator_client import Client, chat_body
from simulator_shapes import Completion, Embeddings

INVOICE = {
    "type": "object",
    "properties": {
        "total": {"type": "number", "minimum": 0},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "minItems": 2},
        "paid_on": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
    },
    "required": ["total", "currency", "lines", "paid_on"],
    "additionalProperties": False,
    "$defs": {"line": {"type": "object", "properties": {"kind": {"enum": ["goods", "freight"]}}, "required": ["kind"]}},
}
TOOL = {"type": "function", "function": {"name": "lookup_order", "parameters": INVOICE}}


async def test_an_answer_says_that_it_is_simulated_wherever_it_shows(client: Client) -> None:
    status, body, headers = await client.post("/v1/chat/completions", chat_body())
    completion = Completion.model_validate_json(body)
    assert status == 200
    assert headers["server"] == "waybill-provider-simulator"
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"].startswith("req-")
    assert completion.message.content is not None
    assert completion.message.content.startswith("Simulated answer")
    async with client.session.get("/") as page:
        assert "simulator" in await page.text()


async def test_a_token_is_four_characters(client: Client) -> None:
    completion = await client.chat("x" * 4_000)
    assert completion.message.content is not None
    assert completion.usage.completion_tokens == -(-len(completion.message.content) // 4)
    assert 1_000 <= completion.usage.prompt_tokens <= 1_010


@pytest.mark.parametrize("cap", ["max_completion_tokens", "max_tokens"])
async def test_a_cap_cuts_the_answer(client: Client, cap: str) -> None:
    options: dict[str, Any] = {cap: 7}
    completion = await client.chat("[[sim: tokens=500]]", **options)
    assert completion.finish_reason == "length"
    assert completion.usage.completion_tokens == 7
    assert len(completion.message.content or "") == 28


async def test_a_script_sets_the_length(client: Client) -> None:
    completion = await client.chat("[[sim: tokens=500]]", max_completion_tokens=500)
    assert completion.finish_reason == "stop"
    assert completion.usage.completion_tokens == 500


async def test_a_stop_ends_the_answer_before_it(client: Client) -> None:
    completion = await client.chat(stop=["never said", "answer"])
    assert completion.message.content == "Simulated "
    assert completion.finish_reason == "stop"


async def test_json_schema_is_satisfied(client: Client) -> None:
    format_ = {"type": "json_schema", "json_schema": {"name": "invoice", "strict": True, "schema": INVOICE}}
    completion = await client.chat(response_format=format_)
    jsonschema.validate(json.loads(completion.message.content or ""), INVOICE)


async def test_json_object_is_an_object(client: Client) -> None:
    completion = await client.chat(response_format={"type": "json_object"})
    assert json.loads(completion.message.content or "")["simulated"] is True


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "lookup_order"}}])
async def test_a_required_tool_is_called(client: Client, choice: Any) -> None:
    completion = await client.chat(tools=[TOOL], tool_choice=choice)
    assert completion.finish_reason == "tool_calls"
    function = completion.message.tool_calls[0].function
    assert function.name == "lookup_order"
    jsonschema.validate(json.loads(function.arguments), INVOICE)


async def test_a_free_choice_of_tools_is_an_answer_unless_scripted(client: Client) -> None:
    assert (await client.chat(tools=[TOOL])).message.content
    assert (await client.chat("[[sim: tool]]", tools=[TOOL])).message.tool_calls
    assert (await client.chat("[[sim: tool]]", tools=[TOOL], tool_choice="none")).message.content


async def test_a_scripted_tool_call_is_made_once(client: Client) -> None:
    called = await client.chat("[[sim: tool]]", tools=[TOOL])
    tool_call = called.message.tool_calls[0].model_dump()
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "[[sim: tool]]"}]},
        {"role": "assistant", "content": None, "tool_calls": [tool_call]},
        {"role": "tool", "content": "found", "tool_call_id": tool_call["id"]},
    ]
    status, body, _ = await client.post("/v1/chat/completions", {"model": "m", "messages": messages, "tools": [TOOL]})
    assert status == 200
    assert Completion.model_validate_json(body).message.content


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": None}, "messages", "invalid_type"),
        ({"model": None}, "model", "invalid_type"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "integer_below_min_value"),
        ({"messages": [{"role": "ghost", "content": "x"}]}, "messages.0.role", "invalid_value"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content", "invalid_type"),
        ({"stop": 5}, "stop", "invalid_type"),
        ({"tool_choice": "perhaps"}, "tool_choice", "invalid_value"),
        ({"stream": True}, "stream", "unsupported_value"),
        ({"n": 2}, "n", "unsupported_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": "[[sim: explode]]"}]}, None, "invalid_sim_script"),
    ],
)
async def test_a_bad_request_is_refused_and_costs_nothing(client: Client, change: Any, param: Any, code: str) -> None:
    status, error, _ = await client.error(chat_body() | change)
    assert status == 400
    assert (error.error.type, error.error.param, error.error.code) == ("invalid_request_error", param, code)
    assert client.charges() == []


async def test_a_schema_beyond_the_simulator_is_refused_and_costs_nothing(client: Client) -> None:
    schema = {"type": "string", "pattern": "^never-in-stock-[0-9]{40}$"}
    format_ = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    status, error, _ = await client.error(chat_body(response_format=format_))
    assert (status, error.error.code) == (400, "unsupported_schema")
    assert client.charges() == []


async def test_a_body_that_is_not_json_is_refused(client: Client) -> None:
    async with client.session.post("/v1/chat/completions", data=b"{") as response:
        assert response.status == 400


async def test_errors_repeat_nothing_of_the_request(client: Client) -> None:
    secret = "the-customers-secret"
    for body in (
        chat_body(f"[[sim: {secret}]]"),
        {"model": {"a": secret}, "messages": secret},
        chat_body(response_format={"type": secret}),
        chat_body(tools=[{"type": "function", "function": {"name": f"{secret} {secret}"}}]),
    ):
        status, raw, _ = await client.post("/v1/chat/completions", body)
        assert status == 400
        assert secret not in raw.decode()


async def test_only_the_bad_key_is_turned_away(client: Client) -> None:
    status, error, _ = await client.error(chat_body(), authorization="Bearer sim-bad-key")
    assert (status, error.error.code) == (401, "invalid_api_key")
    await client.chat(headers={"authorization": "Bearer anything"})
    assert len(client.charges()) == 1


async def test_unknown_places_and_methods(client: Client) -> None:
    assert (await client.error({}, "/v1/nothing"))[0] == 404
    assert (await client.get("/v1/chat/completions"))[0] == 405
    assert (await client.get("/ready")) == (200, {"status": "ready"})
    _, models = await client.get("/v1/models")
    assert {"sim-ok", "sim-slow", "sim-refuse", "sim-fail", "sim-malformed"} <= {one["id"] for one in models["data"]}


async def test_embeddings_are_unit_vectors_that_follow_the_text(client: Client) -> None:
    body = {"model": "sim-embed", "input": ["one", "two", "one"], "dimensions": 64}
    status, raw, _ = await client.post("/v1/embeddings", body)
    vectors = [one.embedding for one in Embeddings.model_validate_json(raw).data]
    assert status == 200
    assert vectors[0] == vectors[2] != vectors[1]
    for vector in vectors:
        assert isinstance(vector, list)
        assert len(vector) == 64
        assert sum(number * number for number in vector) == pytest.approx(1.0)

    _, raw, _ = await client.post("/v1/embeddings", body | {"encoding_format": "base64"})
    packed = Embeddings.model_validate_json(raw).data[0].embedding
    assert isinstance(packed, str)
    assert list(unpack("<64f", base64.b64decode(packed))) == pytest.approx(vectors[0], abs=1e-6)


@pytest.mark.parametrize("given", ["text", ["a", "b"], [1, 2, 3], [[1, 2], [3]]])
async def test_embeddings_take_every_kind_of_input(client: Client, given: Any) -> None:
    status, raw, _ = await client.post("/v1/embeddings", {"model": "sim-embed", "input": given})
    embeddings = Embeddings.model_validate_json(raw)
    assert status == 200
    assert len(embeddings.data) == (1 if given in ("text", [1, 2, 3]) else 2)
    assert len(embeddings.data[0].embedding) == 1_536


async def test_a_large_request_is_taken(client: Client) -> None:
    completion = await client.chat("x" * 3_000_000)
    assert completion.usage.prompt_tokens > 700_000
