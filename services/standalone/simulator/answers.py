"""What the simulated model says: text, refusals, JSON, tool calls and vectors, by seeded chance.

A token is four characters, rounded up, in prompts as in answers: near enough to real tokenizers for costs and limits,
and simple enough to check by hand.
"""

from __future__ import annotations

from hashlib import shake_256
from math import sqrt
from struct import unpack
from typing import Final

import orjson

from services.standalone.simulator.calls import Answer, Call, Finish, Tool, ToolCall
from services.standalone.simulator.draw import Draw
from services.standalone.simulator.json_sample import sample_json
from services.standalone.simulator.script import Script

CHARS_PER_TOKEN: Final = 4

_OPENING: Final = "Simulated answer: "
_REFUSAL: Final = "I'm sorry, but I can't help with that. (simulated refusal)"
_SENTENCES: Final = (
    "The consignment left the harbour before noon and every seal was intact.",
    "Three of the listed items match the order, and one needs a second look.",
    "Nothing in the text contradicts the earlier statement.",
    "The customer asks for a replacement and prefers delivery on a weekday.",
    "Overall the tone is calm, the request is clear, and no deadline is named.",
    "A short summary follows from the first and the last paragraph.",
    "The figures add up to the total that is given at the end.",
    "It is likely a question about billing rather than about the product.",
)
_TYPICAL_TOKENS: Final = (16, 96)


def tokens_of(chars: int) -> int:
    """How many tokens so many characters are."""
    return -(-chars // CHARS_PER_TOKEN)


def compose(call: Call, script: Script, draw: Draw, seed: int, *, refuse: bool) -> Answer:
    """The model's answer to a call; raises :class:`InvalidCallError` for a schema that it cannot satisfy."""
    answer_id = draw.token("answer")
    prompt_tokens = max(1, tokens_of(call.prompt_chars))
    if call.inputs:
        vectors = tuple(_vector(text, call.dimensions, seed) for text in call.inputs)
        return Answer(answer_id, "stop", prompt_tokens, 0, vectors=vectors)
    if refuse:
        said, finish, tokens = _cut(_REFUSAL, call, "stop")
        return Answer(answer_id, finish, prompt_tokens, tokens, refusal=said)
    if tool := _wanted_tool(call, script):
        arguments, finish, tokens = _cut(_json(tool.parameters, draw), call, "tool_calls")
        return Answer(answer_id, finish, prompt_tokens, tokens, tool_call=ToolCall(tool.name, arguments))
    if call.schema is not None:
        text = _json(call.schema, draw)
    else:
        text = _prose(script.tokens or draw.integer("tokens", *_TYPICAL_TOKENS), draw)
    text, finish, tokens = _cut(_stopped(text, call.stop), call, "stop")
    return Answer(answer_id, finish, prompt_tokens, tokens, text=text)


def _wanted_tool(call: Call, script: Script) -> Tool | None:
    # A scripted tool call is made once; with its result at hand the model answers, or the job would never end.
    name = call.forced_tool or (None if call.answers_tool_result else script.tool)
    if name is None:
        return None
    return next((tool for tool in call.tools if name in ("", tool.name)), None)


def _json(schema: object, draw: Draw) -> str:
    return orjson.dumps(sample_json(schema, draw)).decode()  # type: ignore[arg-type]


def _prose(tokens: int, draw: Draw) -> str:
    length = tokens * CHARS_PER_TOKEN
    first = draw.integer("sentence", 0, len(_SENTENCES) - 1)
    text = _OPENING + " ".join(_SENTENCES[first:] + _SENTENCES[:first]) + " "
    return (text * (length // len(text) + 1))[:length]


def _stopped(text: str, stops: tuple[str, ...]) -> str:
    ends = [end for stop in stops if (end := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def _cut(text: str, call: Call, finish: Finish) -> tuple[str, Finish, int]:
    tokens = tokens_of(len(text))
    if call.max_tokens is None or tokens <= call.max_tokens:
        return text, finish, tokens
    return text[: call.max_tokens * CHARS_PER_TOKEN], "length", call.max_tokens


def _vector(text: str, dimensions: int, seed: int) -> tuple[float, ...]:
    """A unit vector that depends on the text and the seed only, so that equal texts are equal wherever they appear."""
    raw = unpack(f"<{dimensions}h", shake_256(f"{seed}\x00{text}".encode()).digest(2 * dimensions))
    norm = sqrt(sum(number * number for number in raw)) or 1.0
    return tuple(number / norm for number in raw)
