"""The OpenAI-compatible wire format: what is sent of a job."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from executor_builders import ALPHA, a_job, some_orders

from schemas.codes import FailureClass
from services.executor.openai_compatible import OpenAICompatible

ADAPTER = OpenAICompatible()
F = FailureClass


def sent(job: dict[str, Any], **orders: Any) -> dict[str, Any]:
    """Return the body of a chat request."""
    request = ADAPTER.request(job, some_orders(**orders), ALPHA)
    assert request.path == "/chat/completions"
    body: dict[str, Any] = orjson.loads(request.body)
    return body


def test_a_chat_is_sent_within_the_decision_s_cap() -> None:
    job = a_job(caps={"max_output_tokens": 5_000})

    assert sent(job, max_output_tokens=77) == {"model": "small", "messages": job["messages"], "max_tokens": 77}


def test_parameters_are_sent_as_given_and_absent_ones_are_not() -> None:
    params = {"temperature": 0.0, "top_p": 0.5, "stop": ["\n"], "seed": 7, "reasoning_effort": None}
    body = sent(a_job(params=params))

    assert {name: body.get(name) for name in params} == params
    assert "reasoning_effort" not in body


def tool(name: str) -> dict[str, Any]:
    """Return a tool."""
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def test_only_tools_that_policy_allows_without_approval_are_offered() -> None:
    job = a_job(tools=[tool("search"), tool("email_send"), tool("delete_all")], tool_choice="auto")

    body = sent(job, tools_allowed=("search", "email_send", "other"), requires_approval_for=("email_send",))

    assert body["tools"] == [tool("search")]
    assert body["tool_choice"] == "auto"


@pytest.mark.parametrize("tools", [None, [], [tool("search")]])
def test_without_a_tool_left_nothing_is_said_of_tools(tools: list[Any] | None) -> None:
    body = sent(a_job(tools=tools, tool_choice="required"))

    assert "tools" not in body
    assert "tool_choice" not in body


def test_a_tool_that_may_not_be_used_is_not_asked_for_either() -> None:
    job = a_job(tools=[tool("search"), tool("email_send")])
    wish = {"type": "function", "function": {"name": "email_send"}}

    assert "tool_choice" not in sent({**job, "tool_choice": wish}, tools_allowed=("search",))
    assert sent({**job, "tool_choice": wish}, tools_allowed=("search", "email_send"))["tool_choice"] == wish


def test_the_response_format_is_passed_on() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}

    assert sent(a_job(response_format=wanted))["response_format"] == wanted
    assert "response_format" not in sent(a_job(response_format=None))


def test_documents_stand_before_the_question() -> None:
    documents = [{"id": "d1", "text": "One.", "title": "First"}, {"id": "d2", "text": "Two.", "title": None}]
    job = a_job(documents=documents)

    system, shown, question = sent(job)["messages"]

    assert [system, question] == job["messages"]
    assert shown == {"role": "user", "content": "Documents:\n\n[d1] First\nOne.\n\n[d2] \nTwo."}
    assert sent(a_job(documents=[]))["messages"] == job["messages"]


def test_embedding_has_a_path_of_its_own() -> None:
    request = ADAPTER.request({"operation": "embed", "input": ["a", "b"]}, some_orders(), ALPHA)

    assert request.path == "/embeddings"
    assert orjson.loads(request.body) == {"model": "small", "input": ["a", "b"]}


def test_the_same_job_is_the_same_bytes() -> None:
    orders = some_orders(tools_allowed=("search",))
    job = a_job(tools=[tool("search")], params={"seed": 1})

    assert ADAPTER.request(job, orders, ALPHA) == ADAPTER.request(job, orders, ALPHA)
