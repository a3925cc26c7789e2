"""What a backend reads on the results topic; readers ignore fields they do not know."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schemas.codes import ErrorCode, Status
from schemas.messages import Head


class ResultError(BaseModel):
    """Why a job did not succeed. The message is from a fixed list; it never echoes a value."""

    model_config = ConfigDict(extra="ignore")

    code: ErrorCode
    field: Annotated[str | None, Field(description="the schema path of the field at fault")] = None
    message: str
    record_id: Annotated[UUID | None, Field(description="the other record, where the fault is a conflict with it")] = (
        None
    )
    retriable: Annotated[bool, Field(description="whether the same job under a new key, or a replay, may succeed")]


class ResultUsage(BaseModel):
    """Tokens over all attempts; cached are inside input, reasoning inside output."""

    model_config = ConfigDict(extra="ignore")

    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int


class SourcePosition(BaseModel):
    """Where the job stood."""

    topic: str
    partition: int
    offset: int


class Result(BaseModel):
    """How a job ended, with its answer where there is one."""

    model_config = ConfigDict(extra="ignore")

    schema_version: Literal[1] = 1
    event: Literal["final"] = "final"
    record_id: UUID
    tenant: str
    idempotency_key: str | None = None
    source: SourcePosition
    status: Status
    error: ResultError | None = None
    output: Annotated[
        dict[str, Any] | None, Field(description="OpenAI's response shape, whichever vendor answered")
    ] = None
    validation: list[dict[str, str]] = []
    citations: list[str] = []
    safety_actions: list[str] = []
    route: dict[str, Any] | None = None
    budgets: dict[str, Any] | None = None
    fallbacks_taken: int = 0
    usage: ResultUsage
    cost_usd: Annotated[str, Field(description="US dollars over all attempts, as a decimal string")]
    attempts: int
    erased: Annotated[
        bool, Field(description="whether the content was erased: then output, key and metadata are left out")
    ] = False
    received_at: datetime
    sealed_at: datetime
    replay_of: UUID | None = None
    record_head: Annotated[Head, Field(description="position and hash of the `sealed` entry")]
    metadata: dict[str, Any] = {}


class Notice(BaseModel):
    """What a job with ``notify: all`` also gets before its result."""

    model_config = ConfigDict(extra="ignore")

    schema_version: Literal[1] = 1
    event: Literal["accepted", "held", "released"]
    record_id: UUID
    tenant: str
    reason: str | None = None
    at: datetime
