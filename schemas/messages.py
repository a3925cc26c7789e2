"""The internal messages: what wakes the next stage. They carry ids, features and decisions, never raw content.

Each names the chain head that its sender left, so that the receiver appends without reading. All are keyed by
``record_id``. Unknown fields are ignored: a message of the next release can still be read.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schemas.codes import ErrorCode, LatencyClass, Status
from schemas.decision import Orders
from schemas.features import Features


class Head(BaseModel):
    """The last entry of a chain: its position, and its hash in hex."""

    model_config = ConfigDict(frozen=True)

    seq: Annotated[int, Field(ge=0)]
    hash: Annotated[str, Field(min_length=64, max_length=64)]


class Message(BaseModel):
    """What every internal message has."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[1] = 1
    record_id: UUID
    tenant: str
    head: Head


class Classified(Message):
    """Classifier → router: what is known of the job."""

    latency_class: LatencyClass
    received_at: datetime
    deadline: datetime
    features: Features


class Routed(Message):
    """Router → executor: the orders of a decision, to be carried out.

    ``resume`` says that the chain may already hold attempts: the executor reads it before it goes on.
    """

    latency_class: LatencyClass
    received_at: datetime
    deadline: datetime
    orders: Orders
    resume: bool = False


class Fault(BaseModel):
    """Why a record ends without success; ``field`` is a schema path, never a value."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: ErrorCode
    field: str | None = None


class Outcome(Message):
    """Anyone → recorder: seal this record, or, with status ``republish``, send its result again."""

    status: Status | Literal["republish"]
    error: Fault | None = None
