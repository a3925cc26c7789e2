"""OpenAI's response shapes as strict models: an answer with a field too many or too few does not validate."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PromptDetails(Shape):
    cached_tokens: int
    cache_write_tokens: int
    audio_tokens: int


class CompletionDetails(Shape):
    reasoning_tokens: int
    audio_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class Usage(Shape):
    prompt_tokens: int = Field(ge=1)
    completion_tokens: int = Field(ge=1)
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails

    @model_validator(mode="after")
    def adds_up(self) -> Usage:
        assert self.total_tokens == self.prompt_tokens + self.completion_tokens
        return self


class CalledFunction(Shape):
    name: str
    arguments: str


class ToolCall(Shape):
    id: str = Field(pattern=r"^call_")
    type: Literal["function"]
    function: CalledFunction


class Message(Shape):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: list[ToolCall] = []
    annotations: list[object]

    @model_validator(mode="after")
    def says_one_thing(self) -> Message:
        assert sum((self.content is not None, self.refusal is not None, bool(self.tool_calls))) == 1
        return self


class Choice(Shape):
    index: Literal[0]
    message: Message
    logprobs: None
    finish_reason: Literal["stop", "length", "tool_calls"]


class Completion(Shape):
    id: str = Field(pattern=r"^chatcmpl-sim-")
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice] = Field(min_length=1, max_length=1)
    usage: Usage
    service_tier: Literal["default"]
    system_fingerprint: Literal["fp_waybill_provider_simulator"]

    @property
    def message(self) -> Message:
        return self.choices[0].message

    @property
    def finish_reason(self) -> str:
        return self.choices[0].finish_reason


class EmbeddingUsage(Shape):
    prompt_tokens: int = Field(ge=1)
    total_tokens: int


class Embedding(Shape):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Embeddings(Shape):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class ErrorBody(Shape):
    message: str
    type: str
    param: str | None
    code: str | None


class Error(Shape):
    error: ErrorBody
