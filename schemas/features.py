"""What the classifier knows of a job: everything a policy may look at, and no content."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.codes import DataClass, LatencyClass, Operation, RiskTier


class Features(BaseModel):
    """The attributes of one job that rules, the router's filters and the facts read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tenant: str
    latency_class: LatencyClass
    operation: Operation
    task: str
    task_confidence: float
    language: str
    input_tokens: int
    characters: int
    messages: int
    documents: int
    untrusted_documents: int
    tools: list[str]
    structured_output: bool
    quality: str
    user_tier: str | None = None
    alias: str | None = None
    model: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    max_cost_usd: str | None = None
    regions: list[str] | None = None
    providers: list[str] | None = None
    retention: str | None = None
    declared_data_class: DataClass | None = None
    data_class: DataClass
    domains: list[str]
    risk_tier: RiskTier
    injection_suspected: bool
    findings: Annotated[dict[str, int], Field(description="how many findings of each type; never their values")]

    def attributes(self) -> dict[str, Any]:
        """Return the features as plain JSON values, as policy conditions see them."""
        return self.model_dump(mode="json")
