"""The body of an OpenAI request as fields of a job: pure. Every field is mapped, harmless, or refused by name.

* **mapped**: what a job can say. Values are not judged here: Waybill does that, and answers with the path.
* **harmless**: fields that change nothing in an answer; they are dropped, like every field that is null.
* **neutral values**: fields that a job cannot carry, given with the value that asks for nothing, ``"n": 1``.

Everything else is refused, fields of tomorrow included: better no answer than one to another question.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Convert: TypeAlias = Callable[[Any, str], Any]
"""Takes a value and its path; raises :class:`FieldRefusedError`."""

_PLAIN_NAME: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")

HARMLESS: Final = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
CHAT_NEUTRAL: Final[Mapping[str, Any]] = {
    "frequency_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "modalities": ["text"],
    "n": 1,
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "stream": False,
    "top_logprobs": 0,
    "verbosity": "medium",
}
EMBEDDING_NEUTRAL: Final[Mapping[str, Any]] = {"encoding_format": "float"}
_MESSAGE_NEUTRAL: Final[Mapping[str, Any]] = {"annotations": []}


class FieldRefusedError(Exception):
    """A field asks for what a job cannot say. ``path`` holds names only, ``reason`` is one of ours."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def chat_fields(body: Mapping[str, Any], path: str = "body") -> dict[str, Any]:
    """Return the job fields of a ``/v1/chat/completions`` body; raises :class:`FieldRefusedError`."""
    taken = pick(body, path, _CHAT, harmless=HARMLESS, neutral=CHAT_NEUTRAL)
    params = {name: taken.pop(name) for name in _PARAMS if name in taken}
    cap = _cap(taken.pop("max_tokens", None), taken.pop("max_completion_tokens", None))
    if params:
        taken["params"] = params
    if cap is not None:
        taken["caps"] = {"max_output_tokens": cap}
    return {"operation": "chat", **taken}


def embedding_fields(body: Mapping[str, Any], path: str = "body") -> dict[str, Any]:
    """Return the job fields of a ``/v1/embeddings`` body; raises :class:`FieldRefusedError`."""
    return {
        "operation": "embed",
        **pick(body, path, {"model": _as_is, "input": _texts}, harmless=HARMLESS, neutral=EMBEDDING_NEUTRAL),
    }


def pick(
    document: Mapping[str, Any],
    path: str,
    takes: Mapping[str, Convert],
    *,
    harmless: frozenset[str] = frozenset(),
    neutral: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """Return the fields that ``takes`` knows, converted; null counts as not given."""
    taken: dict[str, Any] = {}
    for name, value in document.items():
        if value is None or name in harmless:
            continue
        where = f"{path}.{name}".lstrip(".")
        if name in takes:
            taken[name] = takes[name](value, where)
        elif name not in neutral:
            raise FieldRefusedError(where if _PLAIN_NAME.match(name) else f"{path}.?".lstrip("."), "is not supported")
        elif value != neutral[name]:
            raise FieldRefusedError(where, f"is not supported, other than {_spelled(neutral[name])}")
    return taken


def _spelled(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case [] | {}:
            return "empty"
        case [only]:
            return str(only)
    return str(value)


def _as_is(value: Any, path: str) -> Any:
    return value


def _each(convert: Convert) -> Convert:
    def converted(value: Any, path: str) -> Any:
        if not isinstance(value, list):
            return value
        return [convert(element, f"{path}.{index}") for index, element in enumerate(value)]

    return converted


def _object(takes: Mapping[str, Convert], *, neutral: Mapping[str, Any] = {}) -> Convert:
    def converted(value: Any, path: str) -> Any:
        return pick(value, path, takes, neutral=neutral) if isinstance(value, dict) else value

    return converted


def _only(word: str) -> Convert:
    def converted(value: Any, path: str) -> Any:
        if value != word:
            raise FieldRefusedError(path, f"is not supported, other than {word}")
        return value

    return converted


def _cap(*values: Any) -> Any:
    """Return the lower of the caps that are given; one that is no number goes on to Waybill, which refuses it."""
    given = [value for value in values if value is not None]
    if all(isinstance(value, int) for value in given):
        return min(given, default=None)
    return next(value for value in given if not isinstance(value, int))


def _texts(value: Any, path: str) -> Any:
    if isinstance(value, list) and any(isinstance(element, int | list) for element in value):
        raise FieldRefusedError(path, "is text here, not tokens")
    return [value] if isinstance(value, str) else value


def _stops(value: Any, path: str) -> Any:
    return [value] if isinstance(value, str) else value


def _role(value: Any, path: str) -> Any:
    if value == "function":
        raise FieldRefusedError(path, "is not supported as function: use tool")
    return value


_FUNCTION: Final = _only("function")
_PARAMS: Final = ("temperature", "top_p", "stop", "seed", "reasoning_effort")
_PART: Final = _object({"type": _only("text"), "text": _as_is})
_TOOL_CALL: Final = _object(
    {"id": _as_is, "type": _FUNCTION, "function": _object({"name": _as_is, "arguments": _as_is})}
)
_MESSAGE: Final = _object(
    {
        "role": _role,
        "content": _each(_PART),
        "name": _as_is,
        "tool_calls": _each(_TOOL_CALL),
        "tool_call_id": _as_is,
    },
    neutral=_MESSAGE_NEUTRAL,
)
_TOOL: Final = _object(
    {
        "type": _FUNCTION,
        "function": _object({"name": _as_is, "description": _as_is, "parameters": _as_is, "strict": _as_is}),
    }
)
_RESPONSE_FORMAT: Final = _object(
    {
        "type": _as_is,
        "json_schema": _object({"name": _as_is, "description": _as_is, "schema": _as_is, "strict": _as_is}),
    }
)
_CHAT: Final[Mapping[str, Convert]] = {
    "model": _as_is,
    "messages": _each(_MESSAGE),
    "max_tokens": _as_is,
    "max_completion_tokens": _as_is,
    "temperature": _as_is,
    "top_p": _as_is,
    "stop": _stops,
    "seed": _as_is,
    "reasoning_effort": _as_is,
    "tools": _each(_TOOL),
    "tool_choice": _object({"type": _FUNCTION, "function": _object({"name": _as_is})}),
    "response_format": _RESPONSE_FORMAT,
}
