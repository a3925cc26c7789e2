"""What rules take away, and how several rules join: a meet-semilattice.

Every part of :class:`Restrictions` only narrows, and :func:`meet` is commutative, associative and idempotent with
``Restrictions()`` as its top. So the order of rules never matters, and one more rule can never permit a provider,
region, retention, tool, quality or amount that was not permitted without it. Nor can it let a job fit where it did not:
what fits is measured against the ceilings of the latency class and of the job itself, never against a rule's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Final

from schemas.decision import Route
from services.policy.catalog import Offer
from services.policy.providers import Capability, Hosting, Model, Provider
from services.policy.wording import either

AMOUNTS: Final = (
    "max_input_tokens",
    "max_output_tokens",
    "max_tool_calls",
    "max_attempts",
    "max_continuations",
    "deadline_ms",
    "max_cost_usd",
)
"""The caps of a job, each joined by its minimum."""


@dataclass(frozen=True, slots=True)
class Restrictions:
    """One element of the lattice. ``None`` is "no limit"; names of tools and models may have ``*`` in them.

    The fields named ``…_lists`` hold lists of permitted patterns: a name is permitted when each of them has it.
    """

    allow_providers: frozenset[str] | None = None
    deny_providers: frozenset[str] = frozenset()
    model_lists: frozenset[frozenset[str]] = frozenset()
    deny_models: frozenset[str] = frozenset()
    allow_regions: frozenset[str] | None = None
    allow_residency: frozenset[str] | None = None
    allow_hosting: frozenset[Hosting] | None = None
    max_retention_days: int | None = None
    capabilities: frozenset[Capability] = frozenset()
    min_quality: float = 0.0
    min_tool_reliability: float = 0.0
    max_latency_ms: int | None = None
    tool_lists: frozenset[frozenset[str]] = frozenset()
    approvals: frozenset[str] = frozenset()
    confirmations: frozenset[str] = frozenset()
    unattended_lists: frozenset[frozenset[str]] = frozenset()
    sandboxed: frozenset[str] = frozenset()
    redacted: frozenset[str] = frozenset()
    strict: bool = False
    strict_logging: bool = False
    isolated: bool = False
    require_citations: bool = False
    human_review: bool = False
    no_escalation: bool = False
    reject_over_budget: bool = False
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    max_attempts: int | None = None
    max_continuations: int | None = None
    deadline_ms: int | None = None
    max_cost_usd: Decimal | None = None

    @property
    def zero_retention(self) -> bool:
        """Whether providers may keep nothing."""
        return self.max_retention_days == 0

    def allows_tool(self, tool: str) -> bool:
        """Tell whether a tool is in every list of allowed tools."""
        return all(matches(tool, allowed) for allowed in self.tool_lists)

    def needs_person(self, tool: str) -> bool:
        """Tell whether only a person's approval lets a tool be called, each time."""
        return matches(tool, self.approvals)

    def needs_word(self, tool: str) -> bool:
        """Tell whether each call of a tool needs an approval, or at least the backend's signed confirmation."""
        return (
            self.needs_person(tool)
            or matches(tool, self.confirmations)
            or not all(matches(tool, unattended) for unattended in self.unattended_lists)
        )

    def needs_sandbox(self, tool: str) -> bool:
        """Tell whether a tool may run in the sandbox only."""
        return matches(tool, self.sandboxed)

    def excludes(self, offer: Offer, job: Mapping[str, Any]) -> str | None:
        """Return why an offer is not permitted for a job with this task and these tools, in words, or ``None``."""
        return self.excludes_provider(offer.provider) or self.excludes_model(offer, job)

    def excludes_provider(self, provider: Provider) -> str | None:
        """Return why nothing of a provider is permitted, in words, or ``None``."""
        name = provider.name
        if name in self.deny_providers:
            return f"the provider {name} is not allowed"
        if self.allow_providers is not None and name not in self.allow_providers:
            return f"the provider {name} is not among those allowed ({listed(self.allow_providers)})"
        if self.allow_hosting is not None and provider.hosting not in self.allow_hosting:
            allowed = either(sorted(self.allow_hosting))
            return f"the endpoint of {name} is {provider.hosting}, and it has to be {allowed}"
        if self.max_retention_days is not None and provider.retention_days > self.max_retention_days:
            most = f"{self.max_retention_days} at most" if self.max_retention_days else "it may keep none"
            return f"the provider {name} keeps data for {provider.retention_days} days, and {most}"
        if self.allow_residency is not None and provider.retention_days:
            allowed, kept = listed(self.allow_residency), set(provider.kept_in) - self.allow_residency
            if kept:
                return f"the provider {name} keeps data in {listed(kept)}, and only {allowed} is allowed for that"
        return None

    @property
    def restricts_models(self) -> bool:
        """Whether anything but the provider rules an offer out."""
        return bool(
            self.allow_regions is not None
            or self.deny_models
            or self.model_lists
            or self.capabilities
            or self.min_quality
            or self.min_tool_reliability
            or self.max_latency_ms is not None
        )

    def excludes_model(self, offer: Offer, job: Mapping[str, Any]) -> str | None:
        """Return why an offer of a permitted provider is not permitted, in words, or ``None``."""
        return self._excludes_route(offer.route) or self._excludes_model(offer.model, job)

    def _excludes_route(self, route: Route) -> str | None:
        if self.allow_regions is not None and route.region not in self.allow_regions:
            return f"the region {route.region} is not among those allowed ({listed(self.allow_regions)})"
        if self.deny_models or self.model_lists:
            name = f"{route.provider}/{route.model}"
            if matches(name, self.deny_models):
                return f"the model {name} is not allowed"
            for allowed in sorted(self.model_lists, key=sorted):
                if not matches(name, allowed):
                    return f"the model {name} is not among those allowed ({listed(allowed)})"
        return None

    def _excludes_model(self, model: Model, job: Mapping[str, Any]) -> str | None:
        if self.capabilities and (missing := self.capabilities - model.capabilities):
            return f"it lacks what is asked for: {listed(missing)}"
        if self.min_quality and (quality := model.quality_for(job["task"])) < self.min_quality:
            return f"its quality of {quality:g} for the task {job['task']} is below the {self.min_quality:g} asked for"
        if self.min_tool_reliability and job["tools"] and (model.tool_reliability or 0) < self.min_tool_reliability:
            known = "not known" if model.tool_reliability is None else f"{model.tool_reliability:g}"
            return f"its reliability with tools is {known}, and {self.min_tool_reliability:g} is asked for"
        if self.max_latency_ms is not None and model.latency_ms > self.max_latency_ms:
            return f"a call takes it {model.latency_ms:,} ms, and {self.max_latency_ms:,} ms are allowed"
        return None


_INTERSECT: Final = frozenset({"allow_providers", "allow_regions", "allow_residency", "allow_hosting"})
_LEAST: Final = frozenset({*AMOUNTS, "max_retention_days", "max_latency_ms"})
_GREATEST: Final = frozenset({"min_quality", "min_tool_reliability"})
_NAMES: Final = tuple(field.name for field in fields(Restrictions))
_TOP: Final = Restrictions()


def meet(parts: Iterable[Restrictions]) -> Restrictions:
    """Return the widest restrictions that are as narrow as each of `parts`; of none, no restrictions."""
    every = tuple(parts)
    joined: dict[str, Any] = {}
    for name in _NAMES:
        top = getattr(_TOP, name)
        said = [value for part in every if (value := getattr(part, name)) != top]
        if not said:
            continue
        if name in _INTERSECT:
            joined[name] = frozenset.intersection(*said)
        elif name in _LEAST:
            joined[name] = min(said)
        elif name in _GREATEST:
            joined[name] = max(said)
        else:  # a set that unites, or a flag that was raised
            joined[name] = True if top is False else frozenset().union(*said)
    return Restrictions(**joined)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a name matches one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def listed(names: Iterable[str]) -> str:
    """Return names for a sentence: sorted, with commas; "none" when there are none."""
    return ", ".join(sorted(names)) or "none"
