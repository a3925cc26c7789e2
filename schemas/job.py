"""What a backend publishes on the requests topic: a job, a cancel, or a replay that on-call asks for.

Everything here is strict: an unknown field is refused by name, every string and list has a limit.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from schemas.codes import DataClass, LatencyClass, Operation

SCHEMA_VERSION: Final = 1
MAX_JOB_BYTES: Final = 16 * 1024 * 1024
MAX_TEXT: Final = MAX_JOB_BYTES
MAX_KEY: Final = 512
MAX_METADATA_BYTES: Final = 64 * 1024

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
TenantId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
IdempotencyKey = Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEY)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Money = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)]
"""US dollars; a JSON string or number, never negative."""


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("needs a time zone")
    return value


Instant = Annotated[datetime, AfterValidator(_aware)]


class Strict(BaseModel):
    """A model that refuses unknown fields by name."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TextPart(Strict):
    """One text part of a message's content."""

    type: Literal["text"]
    text: Text


class FunctionCall(Strict):
    """The function that a tool call names, with its arguments as a JSON string."""

    name: Identifier
    arguments: Text


class ToolCall(Strict):
    """A call of a tool in an assistant's message."""

    id: ShortText
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(Strict):
    """One message, in OpenAI's shape; text and tool messages only."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[TextPart], Field(min_length=1, max_length=256, fail_fast=True)] | None = None
    name: Identifier | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128, fail_fast=True)] | None = None
    tool_call_id: ShortText | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ChatMessage:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError("content is missing")
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a tool message names its tool_call_id")
        return self

    def text(self) -> str:
        """Return the message's text, parts joined by newlines."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class FunctionTool(Strict):
    """The function behind a tool: its name, and a JSON Schema of its parameters."""

    name: Identifier
    description: Annotated[str, StringConstraints(max_length=8192)] | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Strict):
    """A tool that the model may call."""

    type: Literal["function"] = "function"
    function: FunctionTool


class NamedTool(Strict):
    """A choice of exactly one tool."""

    class Name(Strict):
        """The name of the tool chosen."""

        name: Identifier

    type: Literal["function"] = "function"
    function: Name


class JsonSchemaFormat(Strict):
    """The JSON Schema that an answer has to satisfy."""

    name: Identifier
    json_schema: Annotated[dict[str, Any], Field(alias="schema")]
    description: Annotated[str, StringConstraints(max_length=8192)] | None = None
    strict: bool | None = None


class ResponseFormat(Strict):
    """What shape the answer must have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _names_its_schema(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema goes with type json_schema, and only with it")
        return self


class Params(Strict):
    """Sampling parameters; sent only where the model takes them."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stop: Annotated[list[ShortText], Field(min_length=1, max_length=4, fail_fast=True)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class Caps(Strict):
    """Ceilings that the caller sets; policy can only lower them."""

    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_tool_calls: Annotated[int, Field(ge=0, le=1_000)] | None = None
    max_cost_usd: Money | None = None


class Document(Strict):
    """A document given with the job, with how far its source is trusted."""

    id: Identifier
    text: Text
    source: Annotated[str, StringConstraints(max_length=2048)] | None = None
    trust: Literal["trusted", "internal", "web", "email", "upload", "untrusted"] = "untrusted"
    title: Annotated[str, StringConstraints(max_length=512)] | None = None


class Constraints(Strict):
    """Where the job's data may go, in the caller's own words; policy can only narrow it further."""

    regions: Annotated[list[Identifier], Field(min_length=1, max_length=64, fail_fast=True)] | None = None
    providers: Annotated[list[Identifier], Field(min_length=1, max_length=64, fail_fast=True)] | None = None
    retention: Literal["zero", "any"] | None = None


Label = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Job(Strict):
    """One AI job that can wait."""

    schema_version: Literal[1]
    type: Literal["job"] = "job"
    tenant: TenantId
    latency_class: LatencyClass
    operation: Operation = Operation.CHAT

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=4096, fail_fast=True)] | None = None
    input: Annotated[list[Text], Field(min_length=1, max_length=2048, fail_fast=True)] | None = None
    query: Text | None = None
    documents: Annotated[list[Document], Field(max_length=1024, fail_fast=True)] | None = None

    idempotency_key: IdempotencyKey | None = None
    deadline: Instant | None = None
    task: Identifier | None = None
    user_tier: Identifier | None = None
    quality: Literal["standard", "high"] = "standard"
    alias: Identifier | None = None
    model: (
        Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$")]
        | None
    ) = None
    params: Params = Params()
    caps: Caps = Caps()
    tools: Annotated[list[Tool], Field(max_length=128, fail_fast=True)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    response_format: ResponseFormat | None = None
    data_class: DataClass | None = None
    constraints: Constraints = Constraints()
    subject: ShortText | None = None
    labels: Annotated[dict[Label, Label], Field(max_length=16)] = {}
    metadata: Annotated[dict[ShortText, Any], Field(max_length=64)] = {}
    notify: Literal["final", "all"] = "final"

    @model_validator(mode="after")
    def _has_what_its_operation_needs(self) -> Job:
        needed = {
            Operation.CHAT: ("messages",),
            Operation.EMBED: ("input",),
            Operation.RERANK: ("query", "documents"),
        }[self.operation]
        for field in needed:
            if not getattr(self, field):
                raise ValueError(f"operation {self.operation} needs {field}")
        for field in {"messages", "input", "query"} - set(needed):
            if getattr(self, field) is not None:
                raise ValueError(f"operation {self.operation} takes no {field}")
        return self

    def texts(self) -> list[str]:
        """Return every text of the job that a model will read, in order."""
        texts = [message.text() for message in self.messages or ()]
        texts += self.input or ()
        texts += [self.query] if self.query else []
        texts += [document.text for document in self.documents or ()]
        return texts


class Cancel(Strict):
    """Cancels the job published under the same tenant and key, before or after the job itself arrives."""

    schema_version: Literal[1]
    type: Literal["cancel"]
    tenant: TenantId
    idempotency_key: IdempotencyKey


class Replay(Strict):
    """Asks for a new record that runs the job of an older one again; published by ``waybill replay``.

    It names the record and nothing else: the content comes from the vault, not from a topic. A record is replayed at
    most once; what failed again is replayed by naming the newer record.
    """

    schema_version: Literal[1]
    type: Literal["replay"]
    tenant: TenantId
    record_id: UUID
