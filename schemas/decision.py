"""The decision: which model handles a job, under which budgets and policy, and why."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from schemas.codes import RiskTier

Usd = Annotated[Decimal, PlainSerializer(lambda value: format(value, "f"), return_type=str)]
"""US dollars, a decimal string in JSON."""


class Part(BaseModel):
    """A part of the decision; unknown fields of a newer release are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Route(Part):
    """A model at a provider, in a region."""

    provider: str
    model: str
    version: str
    region: str
    tier: Literal["standard", "batch"]
    alias: str | None = None

    @property
    def name(self) -> str:
        """The route in one word: ``provider/model@region``."""
        return f"{self.provider}/{self.model}@{self.region}"


class Fallback(Part):
    """The next best route, and the failure classes or groups on which it is taken."""

    route: Route
    when: list[str]


class Budgets(Part):
    """The contract of one job: what all attempts together may use."""

    max_input_tokens: int
    max_output_tokens: int
    max_tool_calls: int
    max_attempts: int
    deadline_ms: Annotated[int, Field(description="milliseconds from the time received")]
    max_cost_usd: Usd
    max_continuations: Annotated[
        int, Field(description="how often an answer that the output cap cut off may be continued")
    ] = 0


class AppliedPolicy(Part):
    """What the joined rules ask for."""

    bundle: str
    risk_tier: RiskTier
    safety_mode: Literal["standard", "strict"]
    tools_allowed: list[str]
    requires_approval_for: list[str]
    require_citations: bool
    human_review: bool
    retention: Literal["zero", "any"]
    confirmation_suffices_for: Annotated[
        list[str],
        Field(description="of those that require approval: for which the backend's signed confirmation does as well"),
    ] = []
    tools_sandboxed: Annotated[list[str], Field(description="of those allowed: which run in the sandbox only")] = []
    prompt_layout: Annotated[
        Literal["standard", "isolated"], Field(description="isolated: documents stand apart from instructions")
    ] = "standard"
    logging: Annotated[
        Literal["standard", "strict"], Field(description="strict: providers are asked to keep no log of the call")
    ] = "standard"
    redact: Annotated[
        list[str],
        Field(description="types and groups of findings that providers see placeholders for, and not the values"),
    ] = []


class Escalation(Part):
    """The stronger model that an uncertain answer goes to, at most ``max`` times."""

    on: list[str]
    to: Route
    max: int = 1


class Reason(Part):
    """Why something is as it is: a stable code, the rule that said so, and words for people."""

    code: str
    rule: str | None = None
    text: str


class RuledOut(Part):
    """A route that could not be taken, and the first rule that ruled it out.

    Routes that the alias leaves out stand together in one line.
    """

    route: str
    rule: str
    text: str


class Estimate(Part):
    """What the first attempt is expected to use and to cost, and the most that one attempt can cost."""

    input_tokens: int
    output_tokens: int
    cost_usd: Usd
    dearest_usd: Annotated[
        Usd | None, Field(description="what it was expected to cost on the dearest eligible route")
    ] = None
    cheapest_usd: Annotated[
        Usd | None, Field(description="what it was expected to cost on the cheapest eligible route")
    ] = None
    worst_case_usd: Usd


class Inputs(Part):
    """Content hashes and versions of all that the decision was made from, so that it can be made again."""

    catalog: str
    aliases: str
    health: str
    budgets: str
    tenants: Annotated[
        str | None, Field(description="the version of the tenants; null where none was in force, or none was asked for")
    ] = None


class Orders(Part):
    """What the executor carries out: the decision without its reasons, which stay in the record."""

    route: Route
    budgets: Budgets
    policy: AppliedPolicy
    fallbacks: list[Fallback]
    escalation: Escalation | None = None
    shadows: Annotated[
        list[Route], Field(description="where a copy of the job goes for comparison; no answer of theirs is a result")
    ] = []
    estimate: Estimate


class Decision(Orders):
    """A route with its budgets, policy and fallbacks; the reasons for it, and the routes ruled out."""

    reasons: list[Reason]
    ruled_out: list[RuledOut]
    inputs: Inputs


class NoRoute(Part):
    """Nothing is eligible: the same explanation, without a route."""

    policy: AppliedPolicy
    reasons: list[Reason]
    ruled_out: list[RuledOut]
    inputs: Inputs
    waits_for: Annotated[
        Literal["gate", "outage", "budget"] | None,
        Field(description="what would give the job a route again, if policy lets it wait; null: it is rejected"),
    ] = None
