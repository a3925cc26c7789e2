"""What people thought of an answer: a verdict, no content."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, model_validator

from schemas.job import IdempotencyKey, Identifier, Strict, TenantId


class Feedback(Strict):
    """A verdict on a record, named by its id or by the key of its job."""

    schema_version: Literal[1]
    tenant: TenantId
    record_id: UUID | None = None
    idempotency_key: IdempotencyKey | None = None
    verdict: Literal["accepted", "edited", "re_asked", "escalated", "rejected"]
    edit_ratio: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    reason_code: Identifier | None = None

    @model_validator(mode="after")
    def _names_a_record(self) -> Feedback:
        if (self.record_id is None) == (self.idempotency_key is None):
            raise ValueError("name either record_id or idempotency_key")
        return self
