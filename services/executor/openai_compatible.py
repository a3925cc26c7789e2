"""The wire format of OpenAI-compatible servers: vLLM, TGI, llama.cpp, and the provider simulator.

``error`` may be an object or a string, ``code`` an int, a string or missing, ``usage`` may be absent; only
``max_tokens`` is understood by all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from schemas.codes import FailureClass, Operation
from schemas.decision import Orders, Route
from schemas.entries import Usage
from services.executor.adapter import Answer, Failure, WireRequest

MAX_RETRY_AFTER_MS: Final = 24 * 3_600_000
LAYOUT: Final = "plain-1"

_BY_STATUS: Final[dict[int, FailureClass]] = {
    400: FailureClass.INVALID_REQUEST,
    401: FailureClass.AUTH,
    402: FailureClass.QUOTA_EXHAUSTED,
    403: FailureClass.AUTH,
    404: FailureClass.MODEL_GONE,
    408: FailureClass.UNAVAILABLE,
    409: FailureClass.UNAVAILABLE,
    413: FailureClass.CONTEXT_TOO_LONG,
    422: FailureClass.INVALID_REQUEST,
    424: FailureClass.UNAVAILABLE,
    429: FailureClass.RATE_LIMITED,
    503: FailureClass.OVERLOADED,
    529: FailureClass.OVERLOADED,
}
_BY_CODE: Final[dict[str, FailureClass]] = {
    "context_length_exceeded": FailureClass.CONTEXT_TOO_LONG,
    "exceed_context_size_error": FailureClass.CONTEXT_TOO_LONG,
    "insufficient_quota": FailureClass.QUOTA_EXHAUSTED,
    "model_not_found": FailureClass.MODEL_GONE,
    "content_filter": FailureClass.CONTENT_FILTERED,
    "overloaded": FailureClass.OVERLOADED,
    "unavailable_error": FailureClass.OVERLOADED,
}


class OpenAICompatible:
    """Chat completions and embeddings."""

    def request(self, job: Mapping[str, Any], orders: Orders, route: Route) -> WireRequest:
        """Return the request of a job on a route, within the decision's caps."""
        if job.get("operation") == Operation.EMBED:
            return WireRequest("/embeddings", orjson.dumps({"model": route.model, "input": job["input"]}))
        body: dict[str, Any] = {
            "model": route.model,
            "messages": _messages(job),
            "max_tokens": orders.budgets.max_output_tokens,
            **{name: value for name, value in job.get("params", {}).items() if value is not None},
        }
        allowed = set(orders.policy.tools_allowed) - set(orders.policy.requires_approval_for)
        tools = [tool for tool in job.get("tools") or () if tool["function"]["name"] in allowed]
        if tools:
            body["tools"] = tools
            choice = job.get("tool_choice")
            if choice and (isinstance(choice, str) or choice["function"]["name"] in allowed):
                body["tool_choice"] = choice
        if job.get("response_format"):
            body["response_format"] = job["response_format"]
        return WireRequest("/chat/completions", orjson.dumps(body))

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer | Failure:
        """Return what a response says."""
        try:
            parsed = orjson.loads(body)
        except orjson.JSONDecodeError:
            parsed = None
        if status != 200:
            return _failure(status, headers, parsed)
        usage = _usage(parsed)
        if isinstance(parsed, dict) and isinstance(parsed.get("data"), list) and "choices" not in parsed:
            return Answer(parsed, "", usage, "stop", _text(parsed.get("model")))
        return _completion(parsed, usage)

    def request_id(self, headers: Mapping[str, str]) -> str | None:
        """Return the provider's own id of the call."""
        value = headers.get("x-request-id")
        return value[:128] if value else None


def _messages(job: Mapping[str, Any]) -> list[Any]:
    messages = list(job["messages"])
    documents = job.get("documents")
    if not documents:
        return messages
    # Before the last message, so that the question stays last.
    shown = "\n\n".join(
        f"[{document['id']}] {document.get('title') or ''}\n{document['text']}" for document in documents
    )
    return [*messages[:-1], {"role": "user", "content": f"Documents:\n\n{shown}"}, messages[-1]]


def _completion(parsed: Any, usage: Usage | None) -> Answer | Failure:
    choices = parsed.get("choices") if isinstance(parsed, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return Failure(FailureClass.MALFORMED_ANSWER, usage)
    finish_reason = _text(choice.get("finish_reason")) or "stop"
    model = _text(parsed.get("model"))
    message = choice.get("message")
    if finish_reason == "content_filter":
        return Failure(FailureClass.CONTENT_FILTERED, usage, finish_reason=finish_reason, response_model=model)
    if not isinstance(message, dict):
        return Failure(FailureClass.MALFORMED_ANSWER, usage, response_model=model)
    if message.get("refusal"):
        return Failure(FailureClass.REFUSED, usage, finish_reason=finish_reason, response_model=model)
    content = message.get("content")
    if not isinstance(content, str) and not message.get("tool_calls"):
        return Failure(FailureClass.MALFORMED_ANSWER, usage, response_model=model)
    return Answer(parsed, content if isinstance(content, str) else "", usage, finish_reason, model)


def _failure(status: int, headers: Mapping[str, str], parsed: Any) -> Failure:
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    words: Sequence[Any] = (error.get("code"), error.get("type")) if isinstance(error, dict) else ()
    failure_class = next((_BY_CODE[word] for word in words if isinstance(word, str) and word in _BY_CODE), None)
    if failure_class is None:
        failure_class = _BY_STATUS.get(status)
    if failure_class is None:
        failure_class = FailureClass.INVALID_REQUEST if 400 <= status < 500 else FailureClass.UNAVAILABLE
    return Failure(failure_class, retry_after_ms=_retry_after(headers))


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """Return the longest delay that the headers ask for, in milliseconds; vendors send several that disagree."""
    delays: list[float] = []
    for name, factor in (("retry-after", 1000.0), ("retry-after-ms", 1.0)):
        try:
            delays.append(float(headers.get(name, "")) * factor)
        except ValueError:
            continue
    valid = [delay for delay in delays if 0 <= delay <= MAX_RETRY_AFTER_MS]
    return round(max(valid)) if valid else None


def _usage(parsed: Any) -> Usage | None:
    usage = parsed.get("usage") if isinstance(parsed, dict) else None
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return Usage(
        input_tokens=_count(usage.get("prompt_tokens")),
        cached_input_tokens=_count(prompt.get("cached_tokens")) if isinstance(prompt, dict) else 0,
        output_tokens=_count(usage.get("completion_tokens")),
        reasoning_tokens=_count(completion.get("reasoning_tokens")) if isinstance(completion, dict) else 0,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0


def _text(value: Any) -> str | None:
    """Return a provider's word as it may stand in an entry: short, and nothing that Postgres refuses."""
    return "".join(c for c in value[:128] if c.isprintable()) if isinstance(value, str) else None
