"""What the classifier knows of a job: everything a policy may look at, and no content."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.codes import ActionClass, DataClass, LatencyClass, Operation, RiskTier, ToolScope


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
    tokens_exact: Annotated[
        bool,
        Field(description="whether the texts' tokens were counted, exactly for OpenAI's o200k_base, or only bounded"),
    ] = True
    tokens_at_most: Annotated[
        dict[str, int], Field(description="by vendor, how many input tokens its models may count, by its stated margin")
    ] = {}
    characters: int
    messages: int
    documents: int
    untrusted_documents: int
    untrusted_sources: Annotated[
        list[str], Field(description="the trust labels of the documents nobody vouches for")
    ] = []
    suspected_documents: Annotated[int, Field(description="how many documents look like injections by themselves")] = 0
    tools: list[str]
    tool_scopes: Annotated[dict[str, ToolScope], Field(description="what each tool asked for does, by its name")] = {}
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
    action_class: Annotated[ActionClass | None, Field(description="null in records made before it was worked out")] = (
        None
    )
    injection_suspected: bool
    injection_score: Annotated[float, Field(description="of the text that is most suspect, from 0 to 1")] = 0.0
    injection_signals: Annotated[list[str], Field(description="the kinds of signs found in any text")] = []
    findings: Annotated[dict[str, int], Field(description="how many findings of each type; never their values")]

    def attributes(self) -> dict[str, Any]:
        """Return the features as plain JSON values, as policy conditions see them."""
        return self.model_dump(mode="json")
