"""The vocabulary between a vendor's wire format and the simulated model: calls, faults and answers, of no vendor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from services.runtime.errors import WaybillError

FaultKind: TypeAlias = Literal["status", "refuse", "malformed", "truncate", "hang", "close"]
Finish: TypeAlias = Literal["stop", "length", "tool_calls"]
Outcome: TypeAlias = Literal["answered", "refused", "malformed", "truncated", "hang", "closed"]
JsonSchema: TypeAlias = Mapping[str, Any]

OUTCOMES: Mapping[FaultKind, Outcome] = {
    "refuse": "refused",
    "malformed": "malformed",
    "truncate": "truncated",
    "hang": "hang",
    "close": "closed",
}


class InvalidCallError(WaybillError):
    """The request cannot be served as it stands.

    Becomes the vendor's 400 (or ``status``); ``param`` and ``code`` are what OpenAI calls by those names.
    """

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Fault:
    """How a call goes wrong. ``status`` is an HTTP status for kind ``status``, ``retry_after`` in whole seconds."""

    kind: FaultKind
    status: int = 0
    retry_after: int | None = None
    code: str | None = None

    @property
    def charged(self) -> bool:
        """Whether the model ran before things went wrong: all but an error status."""
        return self.kind != "status"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call, with the JSON Schema of its arguments."""

    name: str
    parameters: JsonSchema


@dataclass(frozen=True, slots=True)
class Call:
    """What a request asks of the model.

    ``schema`` is set where the answer must be JSON. ``forced_tool`` names the tool that must be called.
    ``inputs`` is set for embeddings only: one text per vector of ``dimensions`` numbers.
    """

    model: str
    prompt_chars: int
    last_user_text: str = ""
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    schema: JsonSchema | None = None
    tools: tuple[Tool, ...] = ()
    forced_tool: str | None = None
    answers_tool_result: bool = False
    inputs: tuple[str, ...] = ()
    dimensions: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool; ``arguments`` is JSON text, and cut short where ``max_tokens`` cut it."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model produced; exactly one of ``text``, ``refusal``, ``tool_call``, ``vectors`` is set."""

    answer_id: str
    finish: Finish
    prompt_tokens: int
    completion_tokens: int
    text: str | None = None
    refusal: str | None = None
    tool_call: ToolCall | None = None
    vectors: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class RateState:
    """A rate limit as it stands: calls per second allowed, calls left now, seconds until one (more) is possible."""

    limit: float
    remaining: int
    reset_s: float


class WireRequest(Protocol):
    """A parsed request of some vendor: the neutral call, and how to answer it in that vendor's format."""

    def call(self) -> Call:
        """The call that the request makes; raises :class:`InvalidCallError` where it contradicts itself."""
        ...

    def render(self, answer: Answer) -> bytes:
        """The body of a 200 answer."""
        ...
