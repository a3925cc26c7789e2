"""What would change: recorded jobs decided twice, before and after, and what differs counted and kept as examples.

Pure, like deciding: the jobs come as an iterable, so that a million of them are never in memory together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from schemas.decision import Decision, NoRoute
from schemas.features import Features
from services.policy.circumstances import ORDINARY, Circumstances, Closed, Health
from services.policy.plan import TenantLimits
from services.policy.policy import Policy

KEPT: Final = 20
"""Jobs kept as examples for each kind of change."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The inputs of a decision as the record has them, and the decision if it is to be compared with."""

    features: Features
    limits: TenantLimits | None = None
    now: Circumstances = ORDINARY
    decision: Decision | NoRoute | None = None
    record: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A job that would be handled otherwise: in which respects, and what was and would be."""

    record: str
    kinds: tuple[str, ...]
    before: Decision | NoRoute
    after: Decision | NoRoute


@dataclass
class Comparison:
    """What a comparison of decisions found; money is what is expected of the first attempts, in US dollars."""

    jobs: int = 0
    unchanged: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)
    """From which route to which, ``none`` for no route."""
    waits_for: Counter[str] = field(default_factory=Counter)
    """What jobs would wait for that have a route now."""
    rejected_by: Counter[str] = field(default_factory=Counter)
    """By which rule, or code, jobs would be rejected that are not now."""
    violations: Counter[str] = field(default_factory=Counter)
    """Why the route that a job took would be forbidden to it, with the number of jobs."""
    cost_before: Decimal = Decimal(0)
    cost_after: Decimal = Decimal(0)
    """Of the jobs that have a route both before and after."""
    examples: list[Change] = field(default_factory=list)

    def add(self, record: str, before: Decision | NoRoute, after: Decision | NoRoute) -> None:
        """Count one job."""
        self.jobs += 1
        if isinstance(before, Decision) and isinstance(after, Decision):
            self.cost_before += before.estimate.cost_usd
            self.cost_after += after.estimate.cost_usd
        kinds = tuple(kinds_of(before, after))
        if not kinds:
            self.unchanged += 1
            return
        if any(self.kinds[kind] < KEPT for kind in kinds):
            self.examples.append(Change(record, kinds, before, after))
        self.kinds.update(kinds)
        if (left := _route(before)) != (right := _route(after)):
            self.moved[left, right] += 1
        if isinstance(after, NoRoute) and isinstance(before, Decision):
            if after.waits_for:
                self.waits_for[after.waits_for] += 1
            else:
                self.rejected_by[after.reasons[0].rule or after.reasons[0].code] += 1


def kinds_of(before: Decision | NoRoute, after: Decision | NoRoute) -> Iterator[str]:
    """Yield in which respects two decisions differ as a job would feel it; reasons in other words are no difference."""
    if isinstance(before, Decision) and isinstance(after, Decision):
        if before.route != after.route:
            yield "route"
        if [it.route for it in before.fallbacks] != [it.route for it in after.fallbacks]:
            yield "fallbacks"
        if before.escalation != after.escalation:
            yield "escalation"
        if before.shadows != after.shadows:
            yield "shadows"
        if before.budgets != after.budgets:
            yield "budgets"
    elif isinstance(before, Decision) and isinstance(after, NoRoute):
        yield "waits" if after.waits_for else "rejected"
    elif isinstance(after, Decision):
        yield "admitted"
    elif before.reasons[0].code != after.reasons[0].code:
        yield "error"
    old, new = before.policy, after.policy
    if old.tools_allowed != new.tools_allowed:
        yield "tools"
    if (old.requires_approval_for, old.confirmation_suffices_for) != (
        new.requires_approval_for,
        new.confirmation_suffices_for,
    ):
        yield "approvals"
    if any(getattr(old, name) != getattr(new, name) for name in _SAFEGUARDS):
        yield "safeguards"


_SAFEGUARDS: Final = (
    "safety_mode",
    "prompt_layout",
    "tools_sandboxed",
    "redact",
    "logging",
    "require_citations",
    "human_review",
    "retention",
)

Decide = Callable[[Recorded], Decision | NoRoute]


def compare(recorded: Iterable[Recorded], before: Decide, after: Decide) -> Comparison:
    """Return what differs between two ways to decide the same jobs."""
    found = Comparison()
    for job in recorded:
        found.add(job.record, before(job), after(job))
    return found


def backtest(recorded: Iterable[Recorded], after: Policy, before: Policy | None = None) -> Comparison:
    """Return what would change under another policy.

    Without `before`, jobs are compared with the decisions that were recorded. Those whose route the other policy
    forbids are counted with the reason, also where it would not have been the one chosen.
    """
    found = Comparison()
    for job in recorded:
        old = job.decision if before is None else before.decide(job.features, job.limits, job.now)
        assert old is not None, "a backtest without another policy needs the decisions that were recorded"
        found.add(job.record, old, after.decide(job.features, job.limits, job.now))
        if isinstance(old, Decision):
            why = after.objection(job.features, old.route, job.limits, job.now)
            if why is not None:
                found.violations[f"{old.route.name}: {why}"] += 1
    return found


def drill(recorded: Iterable[Recorded], policy: Policy, provider: str) -> Comparison:
    """Return what would happen to jobs with a provider out of service."""
    lost = Closed(provider, "outage", "this is a drill")

    def without(job: Recorded) -> Decision | NoRoute:
        health = Health.of([*job.now.health.closed, lost])
        return policy.decide(job.features, job.limits, replace(job.now, health=health))

    return compare(recorded, lambda job: policy.decide(job.features, job.limits, job.now), without)


def rederived(job: Recorded, policy: Policy) -> bool:
    """Tell whether a recorded decision comes out again from its inputs, byte for byte."""
    assert job.decision is not None, "there is a decision to compare with"
    again = policy.decide(job.features, job.limits, job.now)
    return type(again) is type(job.decision) and again.model_dump_json() == job.decision.model_dump_json()


def _route(decision: Decision | NoRoute) -> str:
    return "none" if isinstance(decision, NoRoute) else decision.route.name
