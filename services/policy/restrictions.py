"""What rules take away, and how several rules join: a meet-semilattice.

Every part of :class:`Restrictions` only narrows, and :func:`meet` is commutative, associative and idempotent with
``Restrictions()`` as its top. So the order of rules never matters, and one more rule can never permit a provider,
region, retention, tool, quality or amount that was not permitted without it.

The law is about what is permitted. Whether a job *fits* a context window and its money is arithmetic on the narrowed
amounts: a rule that lowers ``max_output_tokens`` lets an answer fit where a longer one would not have.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from schemas.decision import Route
from services.policy.catalog import Model, Name, Offer, Provider, Share
from services.policy.files import Spec

AMOUNTS: Final = (
    "max_input_tokens",
    "max_output_tokens",
    "max_tool_calls",
    "max_attempts",
    "deadline_ms",
    "max_cost_usd",
)
"""The caps, each joined by its minimum."""

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Money = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)]
ToolPattern = Annotated[str, Field(min_length=1, max_length=64)]


class CapsSpec(Spec):
    """Ceilings that a rule sets; what is left out stays as it is."""

    max_input_tokens: Count | None = None
    max_output_tokens: Positive | None = None
    max_tool_calls: Count | None = None
    max_attempts: Positive | None = None
    deadline_ms: Positive | None = None
    max_cost_usd: Money | None = None


class AllCapsSpec(Spec):
    """The ceilings of a latency class, all of them."""

    max_input_tokens: Count
    max_output_tokens: Positive
    max_tool_calls: Count
    max_attempts: Positive
    deadline_ms: Positive
    max_cost_usd: Money


@dataclass(frozen=True, slots=True)
class Restrictions:
    """One element of the lattice. ``None`` is "no limit"; tool names may have ``*`` in them.

    `tool_lists` holds every list of allowed tools: a tool is allowed when each of them has it.
    """

    allow_providers: frozenset[str] | None = None
    deny_providers: frozenset[str] = frozenset()
    allow_regions: frozenset[str] | None = None
    zero_retention: bool = False
    tool_lists: frozenset[frozenset[str]] = frozenset()
    approvals: frozenset[str] = frozenset()
    strict: bool = False
    require_citations: bool = False
    human_review: bool = False
    min_quality: float = 0.0
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    max_attempts: int | None = None
    deadline_ms: int | None = None
    max_cost_usd: Decimal | None = None

    def allows_tool(self, tool: str) -> bool:
        """Tell whether a tool is in every list of allowed tools."""
        return all(matches(tool, allowed) for allowed in self.tool_lists)

    def needs_approval(self, tool: str) -> bool:
        """Tell whether a person has to approve each call of a tool."""
        return matches(tool, self.approvals)

    def excludes(self, offer: Offer, task: str) -> str | None:
        """Return why an offer is not permitted, in words, or ``None``."""
        return (
            self._excludes_provider(offer.provider)
            or self._excludes_region(offer.route)
            or self._excludes_quality(offer.model, task)
        )

    def _excludes_provider(self, provider: Provider) -> str | None:
        if provider.name in self.deny_providers:
            return f"the provider {provider.name} is not allowed"
        if self.allow_providers is not None and provider.name not in self.allow_providers:
            return f"the provider {provider.name} is not among those allowed ({listed(self.allow_providers)})"
        if self.zero_retention and provider.retention_days > 0:
            return f"the provider {provider.name} keeps data for {provider.retention_days} days, and it may keep none"
        return None

    def _excludes_region(self, route: Route) -> str | None:
        if self.allow_regions is not None and route.region not in self.allow_regions:
            return f"the region {route.region} is not among those allowed ({listed(self.allow_regions)})"
        return None

    def _excludes_quality(self, model: Model, task: str) -> str | None:
        if (quality := model.quality_for(task)) < self.min_quality:
            return f"its quality of {quality:g} for the task {task} is below the {self.min_quality:g} asked for"
        return None


class Effects(Spec):
    """What a rule of the bundle does when its condition is true."""

    allow_providers: list[Name] | None = None
    deny_providers: tuple[Name, ...] = ()
    allow_regions: list[Name] | None = None
    retention: Literal["zero", "any"] = "any"
    tools_allowed: list[ToolPattern] | None = None
    requires_approval_for: tuple[ToolPattern, ...] = ()
    caps: CapsSpec = CapsSpec()
    safety_mode: Literal["standard", "strict"] = "standard"
    require_citations: bool = False
    human_review: bool = False
    min_quality: Share = 0.0

    def restrictions(self) -> Restrictions:
        """Return these effects as an element of the lattice."""
        return Restrictions(
            allow_providers=None if self.allow_providers is None else frozenset(self.allow_providers),
            deny_providers=frozenset(self.deny_providers),
            allow_regions=None if self.allow_regions is None else frozenset(self.allow_regions),
            zero_retention=self.retention == "zero",
            tool_lists=frozenset() if self.tools_allowed is None else frozenset({frozenset(self.tools_allowed)}),
            approvals=frozenset(self.requires_approval_for),
            strict=self.safety_mode == "strict",
            require_citations=self.require_citations,
            human_review=self.human_review,
            min_quality=self.min_quality,
            **amounts(self.caps),
        )


def meet(parts: Iterable[Restrictions]) -> Restrictions:
    """Return the widest restrictions that are as narrow as each of `parts`; of none, no restrictions."""
    every = tuple(parts)
    if not every:
        return Restrictions()
    return Restrictions(
        allow_providers=_intersection([part.allow_providers for part in every]),
        deny_providers=frozenset().union(*[part.deny_providers for part in every]),
        allow_regions=_intersection([part.allow_regions for part in every]),
        zero_retention=any(part.zero_retention for part in every),
        tool_lists=frozenset().union(*[part.tool_lists for part in every]),
        approvals=frozenset().union(*[part.approvals for part in every]),
        strict=any(part.strict for part in every),
        require_citations=any(part.require_citations for part in every),
        human_review=any(part.human_review for part in every),
        min_quality=max(part.min_quality for part in every),
        **{
            name: min((value for part in every if (value := getattr(part, name)) is not None), default=None)
            for name in AMOUNTS
        },
    )


def amounts(caps: CapsSpec | AllCapsSpec) -> dict[str, Any]:
    """Return caps by name, as :class:`Restrictions` takes them."""
    return {name: getattr(caps, name) for name in AMOUNTS}


def matches(tool: str, patterns: Iterable[str]) -> bool:
    """Tell whether a tool's name matches one of the patterns."""
    return any(fnmatchcase(tool, pattern) for pattern in patterns)


def listed(names: Iterable[str]) -> str:
    """Return names for a sentence: sorted, with commas; "none" when there are none."""
    return ", ".join(sorted(names)) or "none"


def _intersection(sets: list[frozenset[str] | None]) -> frozenset[str] | None:
    limits = [limit for limit in sets if limit is not None]
    return frozenset.intersection(*limits) if limits else None
