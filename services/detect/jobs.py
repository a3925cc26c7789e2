"""A job as a model reads it, text by text, and without what is found in it.

Only what may be shown to a model is here: messages, tool calls in them, inputs, query, documents, tools, the format of
the answer, stop words. What is JSON inside of a text, as arguments of tools are, is read as what it says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.detect.own_rules import OwnRules
from services.detect.redactor import Leaf, redact_texts

See = Callable[[Leaf], str]
"""Takes a text and returns what stands in its place."""

# No rule finds anything in fewer digits.
_SHORTEST_NUMBER: Final = 100_000
_ESCAPED: Final = "\\u"
_LONE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class RedactedJob:
    """What a model reads of a job, with placeholders; what they stand for; and places replaced, by type.

    Where it is not ``whole``, more is missing than the values, or something may be left that could not be looked at.
    """

    job: dict[str, Any]
    placeholders: dict[str, str]
    counts: dict[str, int]
    whole: bool


def redact_job(
    job: Mapping[str, Any], types: Collection[str] | None = None, own: OwnRules | None = None
) -> RedactedJob:
    """Return a job without what is found of these types, of all types if none are given. Deterministic; never raises.

    It is heavy for a long job: call it in a thread.
    """
    try:
        leaves = leaves_of(job)
        made = redact_texts(leaves, types, own)
        texts = iter(made.texts)
        return RedactedJob(_through(job, lambda _: next(texts)), made.placeholders, made.counts, made.whole)
    except (RecursionError, UnreadableTextError):
        return RedactedJob({}, {}, {}, whole=False)


def leaves_of(job: Mapping[str, Any]) -> list[Leaf]:
    """Return every text of a job that a model reads, in order; raises :class:`UnreadableTextError`."""
    leaves: list[Leaf] = []
    _through(job, lambda leaf: leaves.append(leaf) or leaf.text)  # type: ignore[func-returns-value]
    return leaves


def within_json(text: str, see: See) -> str:
    """Return a text with what is seen in its place, or where it is JSON in place of each text in it: it stays JSON."""
    try:
        # Not orjson, which takes a longer number for a fraction, and so for another number.
        parsed = json.loads(text, object_pairs_hook=_of_different_names)
    except (json.JSONDecodeError, RecursionError):
        if _ESCAPED in text:
            raise UnreadableTextError from None
        return see(Leaf(text))
    except ValueError:  # a number of thousands of digits, or a name given twice
        raise UnreadableTextError from None
    changed = _values(parsed, see, "")
    # As it came where nothing is in it: spaces and the form of numbers are the caller's.
    if changed == parsed:
        return text
    written = json.dumps(changed, ensure_ascii=False)
    return json.dumps(changed) if _LONE.search(written) else written  # as an escape, as it came: no UTF-8 holds it


def _of_different_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):  # what is repeated would be sent, and never looked at
        raise UnreadableTextError
    return made


class UnreadableTextError(ValueError):
    """A text has escapes in it, and is no JSON by which they could be read."""


def _through(job: Mapping[str, Any], see: See) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, part in _PARTS.items():
        if job.get(name):
            shown[name] = part(job[name], see)
    return shown


def _message(message: Mapping[str, Any], see: See) -> dict[str, Any]:
    shown = dict(message)
    if isinstance(content := message.get("content"), str):
        shown["content"] = see(Leaf(content))
    elif content:
        # Parts are read as one text.
        shown["content"] = [
            {**part, "text": see(Leaf(part["text"], "\n" if number else "\n\n"))} for number, part in enumerate(content)
        ]
    for name in ("name", "tool_call_id"):
        if message.get(name):
            shown[name] = see(Leaf(message[name], None))
    if message.get("tool_calls"):
        shown["tool_calls"] = [_call(call, see) for call in message["tool_calls"]]
    return shown


def _call(call: Mapping[str, Any], see: See) -> dict[str, Any]:
    function = call["function"]
    name = see(Leaf(function["name"], None, fixed=True))
    return {
        **call,
        "id": see(Leaf(call["id"], None)),
        "function": {**function, "name": name, "arguments": within_json(function["arguments"], see)},
    }


def _values(value: Any, see: See, key: str) -> Any:
    match value:
        case str():
            return see(Leaf(value, f"\n{key}: "))
        case bool() | None:
            return value
        case int() | float() if abs(value) >= _SHORTEST_NUMBER:
            written = str(value)
            shown = see(Leaf(written, f"\n{key}: "))
            return value if shown == written else shown
        case dict():
            return {see(Leaf(name, None)): _values(item, see, name) for name, item in value.items()}
        case list():
            return [_values(item, see, key) for item in value]
        case _:
            return value


def _document(document: Mapping[str, Any], see: See) -> dict[str, Any]:
    shown = {"id": see(Leaf(document["id"], "\n\n["))}
    before = "] "
    if document.get("title"):
        shown["title"] = see(Leaf(document["title"], before))
        before = ""
    shown["text"] = see(Leaf(document["text"], f"{before}\n"))
    return shown


def _tool(tool: Mapping[str, Any], see: See) -> dict[str, Any]:
    return {**tool, "function": _described(tool["function"], "parameters", see)}


def _format(wanted: Mapping[str, Any], see: See) -> dict[str, Any]:
    schema = wanted.get("json_schema")
    return {**wanted, "json_schema": _described(schema, "schema", see)} if schema else dict(wanted)


def _described(named: Mapping[str, Any], schema: str, see: See) -> dict[str, Any]:
    shown = {**named, "name": see(Leaf(named["name"], None, fixed=True))}
    if named.get("description"):
        shown["description"] = see(Leaf(named["description"]))
    if named.get(schema):
        shown[schema] = _schema(named[schema], see)
    return shown


def _schema(value: Any, see: See) -> Any:
    match value:
        case str():
            return see(Leaf(value, None))
        case dict():
            return {see(Leaf(name, None, fixed=True)): _schema(item, see) for name, item in value.items()}
        case list():
            return [_schema(item, see) for item in value]
        case _:
            return value


def _params(params: Mapping[str, Any], see: See) -> dict[str, Any]:
    return {**params, "stop": [see(Leaf(word, None)) for word in params["stop"]]} if params.get("stop") else {**params}


def _each(part: Callable[[Any, See], Any]) -> Callable[[Any, See], Any]:
    return lambda items, see: [part(item, see) for item in items]


def _text(text: str, see: See) -> str:
    return see(Leaf(text))


_PARTS: Final[dict[str, Callable[[Any, See], Any]]] = {
    "operation": lambda operation, _: str(operation),
    "messages": _each(_message),
    "input": _each(_text),
    "query": _text,
    "documents": _each(_document),
    "tools": _each(_tool),
    "response_format": _format,
    "params": _params,
}
