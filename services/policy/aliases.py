"""Aliases: the names that jobs ask for, and the models that stand behind each.

Of an alias's targets the cheapest that fits takes each job, unless some have a ``weight``: then those share the jobs,
and the others only take over. A ``canary`` takes a share of all jobs before that; ``shadows`` get copies of a share.
Who gets which job follows from the record's id alone: the same job goes the same way as long as the alias does not
change, and a canary that grows keeps the jobs that it had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from schemas.codes import FAILURE_GROUPS, FailureClass, failure_classes
from schemas.decision import Route
from services.policy.catalog import Catalog
from services.policy.errors import AliasError
from services.policy.files import Spec, content_hash, parse, parse_at
from services.policy.places import Document
from services.policy.providers import Name

NEVER_ROUTED_AROUND: Final = frozenset(
    {FailureClass.REFUSED, FailureClass.CONTENT_FILTERED, FailureClass.INVALID_REQUEST}
)
"""Failures that are answers: no other route is asked after them."""


def _routed_around(names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        classes = failure_classes(list(names))
    except ValueError as error:
        known = ", ".join([*FAILURE_GROUPS, *(name.value for name in FailureClass)])
        raise ValueError(f"{error}; known are {known}") from error
    if refused := sorted(classes & NEVER_ROUTED_AROUND):
        raise ValueError(f"{', '.join(refused)} is never routed around")
    return names


class Target(Spec):
    """A model behind an alias, in any region or in one; `weight` is its share of the jobs beside other weights."""

    provider: Name
    model: Name
    region: Name | None = None
    weight: Annotated[int, Field(ge=1)] | None = None

    def matches(self, route: Route) -> bool:
        """Tell whether a route is this target."""
        return (self.provider, self.model) == (route.provider, route.model) and self.region in (None, route.region)

    @property
    def name(self) -> str:
        """The target in one word."""
        return f"{self.provider}/{self.model}{f'@{self.region}' if self.region else ''}"


class Canary(Target):
    """A target that takes a share of the jobs, more than 0 and up to 1, to be watched before it takes more."""

    weight: None = None
    share: Annotated[float, Field(gt=0, le=1)]


class Shadow(Target):
    """A model that gets copies of a share of the jobs, as policy permits; its answers are compared and never sent."""

    weight: None = None
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class NamedFallback(Target):
    """A model that takes over after these failures, before any that Waybill chooses by itself."""

    weight: None = None
    when: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_routed_around)]


class Pick(NamedTuple):
    """Which of :attr:`Alias.choices` a record falls to, if shares say so, and why in words."""

    choice: int
    words: str


class Alias(Spec):
    """What an alias stands for; a job under it never leaves its targets, its canary and its fallbacks."""

    description: str = ""
    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    canary: Canary | None = None
    shadows: tuple[Shadow, ...] = ()
    fallbacks: tuple[NamedFallback, ...] = ()

    @model_validator(mode="after")
    def _weights_say_something(self) -> Alias:
        if len(self.targets) == 1 and self.targets[0].weight is not None:
            raise ValueError("the only target needs no weight")
        return self

    @cached_property
    def choices(self) -> tuple[Target, ...]:
        """The targets, and after them the canary: what a job can be given to at first."""
        return (*self.targets, *((self.canary,) if self.canary else ()))

    @cached_property
    def shares(self) -> bool:
        """Whether the record's id has a say in who gets a job."""
        return self.canary is not None or any(target.weight for target in self.targets)

    def matches(self, route: Route) -> bool:
        """Tell whether a route is among the choices."""
        return any(target.matches(route) for target in self.choices)

    def pick(self, name: str, record: str) -> Pick | None:
        """Return the choice that a record falls to under this alias, named `name`; ``None`` where cost decides."""
        if self.canary is not None and fraction(name, "canary", record) < self.canary.share:
            share = f"{self.canary.share * 100:g}%"
            return Pick(len(self.targets), f"it is among the {share} of jobs that try out the canary of {name}")
        weights = [target.weight or 0 for target in self.targets]
        if not (total := sum(weights)):
            return None
        point = fraction(name, "weight", record) * total
        choice = next(place for place, sum_so_far in enumerate(accumulate(weights)) if point < sum_so_far)
        return Pick(choice, f"its share of the jobs under {name}, {weights[choice]:,} of {total:,}, has this one")

    def shadowed_by(self, name: str, record: str) -> list[int]:
        """Return the places of the shadows that get a copy of a record."""
        return [
            place
            for place, shadow in enumerate(self.shadows)
            if fraction(name, f"shadow {shadow.name}", record) < shadow.share
        ]


class Aliases(Spec):
    """All aliases, and the one for jobs that name none."""

    version: Literal[1]
    default: Name
    aliases: Annotated[dict[Name, Alias], Field(min_length=1)]

    @classmethod
    def load(cls, path: Path, catalog: Catalog) -> Aliases:
        """Read an alias file; raises :class:`~services.policy.errors.PolicyError` naming the alias that is wrong."""
        document = Document.read(path)
        aliases = parse_at(cls, document, error=AliasError)
        if problem := aliases.problem(catalog):
            steps, text = problem
            raise AliasError(
                f"{document.at(steps)}: {text}", hint="Add the model to catalog.yaml, or take the target out."
            )
        return aliases

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Aliases:
        """Return the aliases that :meth:`content` told."""
        return parse(cls, content, where="aliases", error=AliasError)

    def content(self) -> dict[str, Any]:
        """Return the aliases as JSON; :attr:`hash` covers it."""
        return {"version": self.version, **self.model_dump(mode="json", exclude_defaults=True)}

    def problem(self, catalog: Catalog) -> tuple[tuple[str | int, ...], str] | None:
        """Return where these aliases do not fit a catalog, and why in words; ``None`` if they do."""
        if self.default not in self.aliases:
            return ("default",), f"the default alias {self.default!r} is not among the aliases."
        routes = [offer.route for offer in catalog.offers]
        for name, alias in self.aliases.items():
            for part in ("targets", "shadows", "fallbacks"):
                for place, target in enumerate(getattr(alias, part)):
                    if not any(target.matches(route) for route in routes):
                        return ("aliases", name, part, place), _unknown(name, target)
            if alias.canary is not None and not any(alias.canary.matches(route) for route in routes):
                return ("aliases", name, "canary"), _unknown(name, alias.canary)
        return None

    @cached_property
    def hash(self) -> str:
        """The content hash of all aliases."""
        return content_hash(self.content())


def fraction(alias: str, purpose: str, record: str) -> float:
    """Return a number in [0, 1) that a record always has under an alias for a purpose, evenly spread over records."""
    digest = hashlib.sha256(f"{alias}\0{purpose}\0{record}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _unknown(name: str, target: Target) -> str:
    where = f" in {target.region}" if target.region else ""
    return f"alias {name}: the catalog has no model {target.provider}/{target.model}{where}."
