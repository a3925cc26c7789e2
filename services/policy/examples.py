"""Examples kept beside a bundle: a job and what has to be decided about it. They are to policy what tests are to code.

They stand in ``examples/*.yaml`` of the bundle's folder. A file may name a ``world``, a folder with a catalog and
aliases of its own, so that a rule can be shown at work on providers that this deployment does not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from schemas.codes import FailureClass, failure_classes
from schemas.decision import Decision, NoRoute
from schemas.features import Features
from services.policy.aliases import Aliases
from services.policy.bundle import Bundle
from services.policy.catalog import Catalog
from services.policy.circumstances import Circumstances, Closed, Health, MoneyLeft
from services.policy.errors import PolicyError
from services.policy.explain import explain
from services.policy.files import Spec, parse_at
from services.policy.places import Document, Place
from services.policy.plan import TenantLimits
from services.policy.policy import Policy
from services.policy.probes import ordinary
from services.policy.wording import joined

FOLDER: Final = "examples"


class ExampleError(PolicyError):
    """The examples of a bundle are not valid."""


class _ClosedSpec(Spec):
    what: str
    by: Literal["gate", "outage"] = "outage"
    why: str = ""


class _MoneySpec(Spec):
    usd: Annotated[Decimal, Field(ge=0)]
    window: str = "this month"


class Now(Spec):
    """The circumstances of an example; nothing is closed and money is no matter, unless it is said."""

    record: str | None = None
    closed: tuple[_ClosedSpec, ...] = ()
    money_left: _MoneySpec | None = None

    def circumstances(self) -> Circumstances:
        """Return them as a decision takes them."""
        money = None if self.money_left is None else MoneyLeft(self.money_left.usd, self.money_left.window)
        closed = (Closed(spec.what, spec.by, spec.why) for spec in self.closed)
        return Circumstances(self.record, Health.of(closed), money)


class Expected(Spec):
    """What has to be decided; what is left out may be anything. Routes are ``provider/model@region``, with ``*``."""

    route: Annotated[str | None, Field(description="`none` where there has to be none")] = None
    tier: Literal["standard", "batch"] | None = None
    waits_for: Literal["gate", "outage", "budget", "nothing"] | None = None
    fallbacks: tuple[str, ...] | None = None
    falls_back: dict[FailureClass, str] = Field(default_factory=dict)
    """For a failure of the first route, the route that takes over, or ``none``."""
    escalates_to: str | None = None
    shadows: tuple[str, ...] | None = None
    rules: tuple[str, ...] = ()
    rules_not: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    """Codes that have to be among the reasons."""
    ruled_out: dict[str, str] = Field(default_factory=dict)
    """Routes that have to be ruled out, and by which rule."""
    tools_allowed: tuple[str, ...] | None = None
    requires_approval_for: tuple[str, ...] | None = None
    confirmation_suffices_for: tuple[str, ...] | None = None
    tools_sandboxed: tuple[str, ...] | None = None
    redact: tuple[str, ...] | None = None
    safety_mode: Literal["standard", "strict"] | None = None
    prompt_layout: Literal["standard", "isolated"] | None = None
    logging: Literal["standard", "strict"] | None = None
    retention: Literal["zero", "any"] | None = None
    require_citations: bool | None = None
    human_review: bool | None = None
    budgets: dict[str, int | Decimal] = Field(default_factory=dict)
    explained: tuple[str, ...] = ()
    """Words that the explanation has to have."""


class Example(Spec):
    """A job, given by the features that are out of the ordinary, and what has to be decided about it."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    job: dict[str, Any] = Field(default_factory=dict)
    tenant_regions: tuple[str, ...] | None = None
    now: Now = Now()
    expect: Expected


class _File(Spec):
    version: Literal[1]
    world: str | None = None
    examples: Annotated[tuple[Example, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Outcome:
    """What came of an example: the decision, and what is not as expected, in words."""

    example: Example
    place: Place
    world: str | None
    job: Features
    decision: Decision | NoRoute
    problems: tuple[str, ...]


def run(folder: Path, policy: Policy) -> Iterator[Outcome]:
    """Decide the examples beside a bundle, which lies in `folder`; raises :class:`PolicyError` where one is not valid.

    `policy` is what decides in files that name no world of their own.
    """
    for path in sorted((folder / FOLDER).glob("*.yaml")):
        document = Document.read(path)
        file = parse_at(_File, document, error=ExampleError)
        decider = policy if file.world is None else _world(path.parent / file.world, folder)
        for number, example in enumerate(file.examples):
            place = document.at(("examples", number))
            try:
                job = ordinary(**example.job)
            except ValueError as error:
                at = document.at(("examples", number, "job"))
                problem = str(error).splitlines()[0]
                raise ExampleError(f"{at}: example {example.name!r}: the job is not valid: {problem}.") from error
            regions = None if example.tenant_regions is None else frozenset(example.tenant_regions)
            limits = None if regions is None else TenantLimits("example", regions)
            decision = decider.decide(job, limits, example.now.circumstances())
            rules = {fired.rule.id for fired in decider.fired(job)}
            yield Outcome(
                example, place, file.world, job, decision, tuple(_problems(example.expect, decision, rules, job))
            )


def _world(world: Path, folder: Path) -> Policy:
    catalog = Catalog.load(world / "catalog.yaml", {})
    aliases = Aliases.load(world / "aliases.yaml", catalog)
    return Policy(Bundle.load(folder, catalog), catalog, aliases)


def _problems(expect: Expected, decision: Decision | NoRoute, rules: set[str], job: Features) -> Iterator[str]:
    yield from _routing(expect, decision)
    for rule in expect.rules:
        if rule not in rules:
            yield f"the rule {rule} did not apply; those that did: {_names(sorted(rules))}"
    for rule in expect.rules_not:
        if rule in rules:
            yield f"the rule {rule} applied"
    codes = [reason.code for reason in decision.reasons]
    for code in expect.reasons:
        if code not in codes:
            yield f"{code} is not among the reasons, which are {_names(codes)}"
    for route, by in expect.ruled_out.items():
        told = [out.rule for out in decision.ruled_out if any(_is(route, name) for name in out.route.split(", "))]
        if by not in told:
            yield f"the route {route} was not ruled out by {by}, but by {_names(told)}"
    for field in _OF_POLICY:
        wanted = getattr(expect, field)
        found = getattr(decision.policy, field)
        if wanted is not None and (sorted(wanted) if isinstance(wanted, tuple) else wanted) != found:
            yield f"{field} is {_value(found)}, and not {_value(wanted)}"
    if expect.explained:
        text = explain(decision, job)
        yield from (f"the explanation does not say {words!r}" for words in expect.explained if words not in text)


def _routing(expect: Expected, decision: Decision | NoRoute) -> Iterator[str]:
    if isinstance(decision, NoRoute):
        if expect.route not in (None, "none") or expect.tier or expect.fallbacks or expect.falls_back:
            yield f"there is no route: {decision.reasons[0].text}"
        if expect.waits_for is not None and expect.waits_for != (decision.waits_for or "nothing"):
            yield f"it waits for {decision.waits_for or 'nothing'}, and not for {expect.waits_for}"
        return
    if expect.route is not None and not _is(expect.route, decision.route.name):
        yield f"the route is {decision.route.name}, and not {expect.route}"
    if expect.waits_for is not None:
        yield f"it does not wait, it goes to {decision.route.name}"
    if expect.tier is not None and decision.route.tier != expect.tier:
        yield f"the tier is {decision.route.tier}"
    names = [fallback.route.name for fallback in decision.fallbacks]
    yield from _list("fallbacks", expect.fallbacks, names)
    for failure, route in expect.falls_back.items():
        taken = (found.route.name for found in decision.fallbacks if failure in failure_classes(found.when))
        if not _is(route, first := next(taken, "none")):
            yield f"after {failure} {first} takes over, and not {route}"
    stronger = "none" if decision.escalation is None else decision.escalation.to.name
    if expect.escalates_to is not None and not _is(expect.escalates_to, stronger):
        yield f"it escalates to {stronger}, and not to {expect.escalates_to}"
    yield from _list("shadows", expect.shadows, [route.name for route in decision.shadows])
    for name, amount in expect.budgets.items():
        if getattr(decision.budgets, name, None) != amount:
            yield f"{name} is {getattr(decision.budgets, name, 'not a budget')}, and not {amount}"


def _list(what: str, wanted: tuple[str, ...] | None, found: list[str]) -> Iterator[str]:
    if wanted is None:
        return
    if len(wanted) != len(found) or not all(_is(pattern, name) for pattern, name in zip(wanted, found, strict=True)):
        yield f"the {what} are {_names(found)}, and not {_names(wanted)}"


_OF_POLICY: Final = (
    "tools_allowed",
    "requires_approval_for",
    "confirmation_suffices_for",
    "tools_sandboxed",
    "redact",
    "safety_mode",
    "prompt_layout",
    "logging",
    "retention",
    "require_citations",
    "human_review",
)


def _is(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern)


def _names(names: Any) -> str:
    return joined(names) if names else "none"


def _value(value: Any) -> str:
    return _names(value) if isinstance(value, list | tuple) else str(value)
