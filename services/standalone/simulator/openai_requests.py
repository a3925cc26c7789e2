"""OpenAI's requests as they are read, and the answers to them as they are written.

Not offered, and refused with ``unsupported_value`` as the real API does with what a model cannot do: streaming, and
more than one choice.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from struct import pack
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, Field, StringConstraints

from services.standalone.simulator.calls import Answer, Call, InvalidCallError, JsonSchema, Tool

FINGERPRINT: Final = "fp_waybill_provider_simulator"
# Answers are the same byte for byte whenever the same call is made again, so they cannot carry the time of day.
CREATED: Final = 1_767_225_600

_OPAQUE_PART_CHARS: Final = 1_024  # what an image or a sound weighs in prompt characters
_MESSAGE_CHARS: Final = 16  # roles and separators of one message
_ANY_OBJECT: Final[JsonSchema] = {
    "type": "object",
    "properties": {"simulated": {"const": True}, "answer": {"type": "string"}},
    "required": ["simulated", "answer"],
}
_EMBEDDING_DIMENSIONS: Final = 1_536

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Part(BaseModel):
    type: str
    text: str | None = None


class _Message(BaseModel):
    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[_Part] | None = None
    tool_calls: list[dict[str, Any]] | None = None

    def text(self) -> str:
        """The text parts, joined."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content or () if part.text is not None)

    def chars(self) -> int:
        """What the message weighs in the prompt, in characters."""
        opaque = sum(part.text is None for part in self.content) if isinstance(self.content, list) else 0
        calls = len(orjson.dumps(self.tool_calls)) if self.tool_calls else 0
        return len(self.text()) + opaque * _OPAQUE_PART_CHARS + calls + _MESSAGE_CHARS


class _Function(BaseModel):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})


class _Tool(BaseModel):
    type: Literal["function"]
    function: _Function


class _FunctionName(BaseModel):
    name: Name


class _NamedTool(BaseModel):
    type: Literal["function"]
    function: _FunctionName


class _AllowedTools(BaseModel):
    mode: Literal["auto", "required"]
    tools: list[_NamedTool] = Field(min_length=1)


class _AllowedToolChoice(BaseModel):
    type: Literal["allowed_tools"]
    allowed_tools: _AllowedTools


class _JsonSchemaFormat(BaseModel):
    name: Name
    body: dict[str, Any] = Field(alias="schema", default_factory=lambda: dict(_ANY_OBJECT))


class _ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchemaFormat | None = None


class ChatRequest(BaseModel):
    """``POST /v1/chat/completions``."""

    model: str = Field(min_length=1, max_length=256)
    messages: list[_Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    response_format: _ResponseFormat | None = None
    tools: list[_Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _NamedTool | _AllowedToolChoice | None = None
    n: int = Field(default=1, ge=1)
    stream: bool | None = None

    def call(self) -> Call:
        """The neutral call; raises :class:`InvalidCallError` where options contradict one another."""
        if self.stream or self.n != 1:
            param = "stream" if self.stream else "n"
            raise InvalidCallError(f"The simulator does not support '{param}'.", param=param, code="unsupported_value")
        tools, forced_tool = self._tools()
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        last_user = next((message for message in reversed(self.messages) if message.role == "user"), None)
        return Call(
            model=self.model,
            prompt_chars=sum(message.chars() for message in self.messages)
            + (len(orjson.dumps([tool.model_dump() for tool in self.tools])) if self.tools else 0),
            last_user_text=last_user.text() if last_user else "",
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=tuple(stop for stop in stops if stop),
            schema=self._schema(),
            tools=tools,
            forced_tool=forced_tool,
            answers_tool_result=self.messages[-1].role == "tool",
        )

    def render(self, answer: Answer) -> bytes:
        """A ``chat.completion`` object."""
        tool_calls = None
        if answer.tool_call is not None:
            function = {"name": answer.tool_call.name, "arguments": answer.tool_call.arguments}
            tool_calls = [{"id": f"call_{answer.answer_id}", "type": "function", "function": function}]
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": answer.refusal}
        if tool_calls:
            message["tool_calls"] = tool_calls
        message["annotations"] = []
        return orjson.dumps(
            {
                "id": f"chatcmpl-sim-{answer.answer_id}",
                "object": "chat.completion",
                "created": CREATED,
                "model": self.model,
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}],
                "usage": {
                    "prompt_tokens": answer.prompt_tokens,
                    "completion_tokens": answer.completion_tokens,
                    "total_tokens": answer.prompt_tokens + answer.completion_tokens,
                    "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0},
                    "completion_tokens_details": {
                        "reasoning_tokens": 0,
                        "audio_tokens": 0,
                        "accepted_prediction_tokens": 0,
                        "rejected_prediction_tokens": 0,
                    },
                },
                "service_tier": "default",
                "system_fingerprint": FINGERPRINT,
            }
        )

    def _schema(self) -> JsonSchema | None:
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return None
        if wanted.type == "json_object":
            return _ANY_OBJECT
        if wanted.json_schema is None:
            raise InvalidCallError(
                "Missing required parameter: 'response_format.json_schema'.",
                param="response_format.json_schema",
                code="missing_required_parameter",
            )
        return wanted.json_schema.body

    def _tools(self) -> tuple[tuple[Tool, ...], str | None]:
        """The tools that may be called, and the one that must be."""
        tools = {tool.function.name: Tool(tool.function.name, tool.function.parameters) for tool in self.tools or ()}
        must = False
        match self.tool_choice:
            case "none":
                return (), None
            case "required":
                names, must = list(tools), True
            case _NamedTool(function=function):
                names, must = [function.name], True
            case _AllowedToolChoice(allowed_tools=allowed):
                names, must = [tool.function.name for tool in allowed.tools], allowed.mode == "required"
            case _:
                names = list(tools)
        if any(name not in tools for name in names) or (must and not names):
            raise InvalidCallError("'tool_choice' names no tool of 'tools'.", param="tool_choice", code="invalid_value")
        return tuple(tools[name] for name in names), names[0] if must else None


class EmbeddingsRequest(BaseModel):
    """``POST /v1/embeddings``; inputs are texts or lists of token numbers."""

    model: str = Field(min_length=1, max_length=256)
    input: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=2_048)]
        | Annotated[list[int], Field(min_length=1, max_length=2_048)]
        | Annotated[list[list[int]], Field(min_length=1, max_length=2_048)]
    )
    dimensions: int = Field(default=_EMBEDDING_DIMENSIONS, ge=1, le=4_096)
    encoding_format: Literal["float", "base64"] = "float"

    def call(self) -> Call:
        """The neutral call."""
        inputs: Sequence[str | int | list[int]] = [self.input] if isinstance(self.input, str) else self.input
        if isinstance(inputs[0], int):
            inputs = [[number for number in inputs if isinstance(number, int)]]
        texts = tuple(one if isinstance(one, str) else orjson.dumps(one).decode() for one in inputs)
        return Call(
            model=self.model,
            prompt_chars=sum(len(text) for text in texts),
            last_user_text=texts[-1],
            inputs=texts,
            dimensions=self.dimensions,
        )

    def render(self, answer: Answer) -> bytes:
        """A ``list`` of ``embedding`` objects."""
        encode: Callable[[tuple[float, ...]], Any] = _base64_floats if self.encoding_format == "base64" else list
        vectors = answer.vectors or ()
        return orjson.dumps(
            {
                "object": "list",
                "data": [
                    {"object": "embedding", "index": index, "embedding": encode(vector)}
                    for index, vector in enumerate(vectors)
                ],
                "model": self.model,
                "usage": {"prompt_tokens": answer.prompt_tokens, "total_tokens": answer.prompt_tokens},
            }
        )


def _base64_floats(vector: tuple[float, ...]) -> str:
    return base64.b64encode(pack(f"<{len(vector)}f", *vector)).decode()
