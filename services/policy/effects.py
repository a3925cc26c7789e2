"""The effects of rules and the ceilings of latency classes, as a bundle's file has them.

A list is kept sorted and without repetitions, an amount in one written form: two files that say the same have the same
content, and so the same digest.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from schemas.codes import EscalationCause
from services.policy.files import Spec
from services.policy.providers import Capability, Hosting, Name, Share
from services.policy.restrictions import AMOUNTS, Restrictions


def _in_order(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(value)))


def _as_dollars(value: Decimal) -> Decimal:
    """Return an amount with as many decimals as it needs, and at least the cents."""
    plain = value.normalize()
    return plain.quantize(_CENT) if int(plain.as_tuple().exponent) > -2 else plain


_CENT: Final = Decimal("0.01")
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Money = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6), AfterValidator(_as_dollars)]
Pattern = Annotated[str, Field(min_length=1, max_length=128)]
Names = Annotated[tuple[Name, ...], AfterValidator(_in_order)]
Patterns = Annotated[tuple[Pattern, ...], AfterValidator(_in_order)]


class CapsSpec(Spec):
    """Ceilings that a rule sets; what is left out stays as it is."""

    max_input_tokens: Count | None = None
    max_output_tokens: Positive | None = None
    max_tool_calls: Count | None = None
    max_attempts: Positive | None = None
    max_continuations: Count | None = None
    deadline_ms: Positive | None = None
    max_cost_usd: Money | None = None


class EscalationSpec(Spec):
    """When an answer is uncertain enough to ask a stronger model, and how often at most."""

    on: Annotated[tuple[EscalationCause, ...], Field(min_length=1), AfterValidator(_in_order)]
    max: Annotated[int, Field(ge=1, le=3)] = 1


class AllCapsSpec(Spec):
    """The ceilings of a latency class, all of them; and what holds for each of its jobs unless a rule is stricter.

    `unattended_tools` is the risk budget: the tools that may be called without anybody's word for it.
    """

    max_input_tokens: Count
    max_output_tokens: Positive
    max_tool_calls: Count
    max_attempts: Positive
    max_continuations: Count = 0
    deadline_ms: Positive
    max_cost_usd: Money
    min_quality: Share = 0.0
    unattended_tools: Patterns | None = None
    over_budget: Literal["hold", "reject"] = "reject"
    escalation: EscalationSpec | None = None

    def restrictions(self) -> Restrictions:
        """Return these ceilings as an element of the lattice."""
        return Restrictions(
            min_quality=self.min_quality,
            unattended_lists=_lists(self.unattended_tools),
            reject_over_budget=self.over_budget == "reject",
            **amounts(self),
        )


class RouteLimitsSpec(Spec):
    """What is allowed on routes of this name alone, ``provider/model@region`` with ``*``; several that match join."""

    route: Pattern
    description: Annotated[str, Field(max_length=500)] = ""
    max_output_tokens: Positive | None = None
    max_cost_usd: Money | None = None
    unattended_tools: Patterns | None = None


class Effects(Spec):
    """What a rule of the bundle does when its condition is true: each field only ever takes something away."""

    allow_providers: Names | None = None
    deny_providers: Names = ()
    allow_models: Patterns | None = None
    deny_models: Patterns = ()
    allow_regions: Names | None = None
    allow_residency: Names | None = None
    allow_hosting: Annotated[tuple[Hosting, ...], AfterValidator(_in_order)] | None = None
    retention: Literal["zero", "any"] = "any"
    max_retention_days: Count | None = None
    require_capabilities: Annotated[tuple[Capability, ...], AfterValidator(_in_order)] = ()
    min_quality: Share = 0.0
    min_tool_reliability: Share = 0.0
    max_latency_ms: Positive | None = None
    tools_allowed: Patterns | None = None
    requires_approval_for: Patterns = ()
    requires_confirmation_for: Patterns = ()
    unattended_tools: Patterns | None = None
    tools_sandboxed: Patterns = ()
    redact: Names = ()
    caps: CapsSpec = CapsSpec()
    safety_mode: Literal["standard", "strict"] = "standard"
    logging: Literal["standard", "strict"] = "standard"
    prompt_layout: Literal["standard", "isolated"] = "standard"
    require_citations: bool = False
    human_review: bool = False
    escalation: Literal["allowed", "none"] = "allowed"
    over_budget: Literal["any", "reject"] = "any"

    @model_validator(mode="after")
    def _one_retention(self) -> Effects:
        if self.retention == "zero" and self.max_retention_days:
            raise ValueError("retention: zero and max_retention_days contradict each other; keep one of them")
        return self

    def restrictions(self) -> Restrictions:
        """Return these effects as an element of the lattice."""
        return Restrictions(
            allow_providers=_set(self.allow_providers),
            deny_providers=frozenset(self.deny_providers),
            model_lists=_lists(self.allow_models),
            deny_models=frozenset(self.deny_models),
            allow_regions=_set(self.allow_regions),
            allow_residency=_set(self.allow_residency),
            allow_hosting=None if self.allow_hosting is None else frozenset(self.allow_hosting),
            max_retention_days=0 if self.retention == "zero" else self.max_retention_days,
            capabilities=frozenset(self.require_capabilities),
            min_quality=self.min_quality,
            min_tool_reliability=self.min_tool_reliability,
            max_latency_ms=self.max_latency_ms,
            tool_lists=_lists(self.tools_allowed),
            approvals=frozenset(self.requires_approval_for),
            confirmations=frozenset(self.requires_confirmation_for),
            unattended_lists=_lists(self.unattended_tools),
            sandboxed=frozenset(self.tools_sandboxed),
            redacted=frozenset(self.redact),
            strict=self.safety_mode == "strict",
            strict_logging=self.logging == "strict",
            isolated=self.prompt_layout == "isolated",
            require_citations=self.require_citations,
            human_review=self.human_review,
            no_escalation=self.escalation == "none",
            reject_over_budget=self.over_budget == "reject",
            **amounts(self.caps),
        )


def amounts(caps: CapsSpec | AllCapsSpec) -> dict[str, Any]:
    """Return caps by name, as :class:`Restrictions` takes them."""
    return {name: getattr(caps, name) for name in AMOUNTS}


def _set(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _lists(patterns: tuple[str, ...] | None) -> frozenset[frozenset[str]]:
    return frozenset() if patterns is None else frozenset({frozenset(patterns)})
