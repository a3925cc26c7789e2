"""The policy bundle: rules, and the ceilings of each latency class, read from the YAML files of a folder.

A bundle is known by the digest of its content. How its files are laid out, how they are named, in which order rules
and lists stand, comments and spaces: none of that is content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from schemas.codes import LatencyClass
from services.policy.catalog import Catalog
from services.policy.condition import Condition, ConditionSourceError, normal
from services.policy.effects import AllCapsSpec, Effects, RouteLimitsSpec
from services.policy.errors import BundleError
from services.policy.files import Spec, content_hash, parse, parse_at
from services.policy.places import Document, Place, Steps
from services.policy.restrictions import Restrictions
from services.policy.wording import Wording

RESERVED: Final = frozenset(
    {"alias", "budget", "catalog", "defaults", "gate", "health", "job", "routes", "tenant", "escalation"}
)
"""What reasons name as the rule when none of the bundle's rules is behind them."""

Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=500),
    AfterValidator(lambda value: " ".join(value.split())),
]


class ReasonSpec(Spec):
    """The code and the words that a rule gives when it applies."""

    code: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    text: Text


class RuleSpec(Spec):
    """A rule as its file has it."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)]
    description: Text
    when: Annotated[str, StringConstraints(min_length=1)]
    reason: ReasonSpec | None = None
    effects: Effects

    def content(self) -> dict[str, Any]:
        """Return the rule as JSON, in the one form that the bundle's digest covers."""
        return {**self.model_dump(mode="json", exclude_defaults=True), "when": normal(self.when)}


class _File(Spec):
    version: Literal[1]
    defaults: dict[LatencyClass, AllCapsSpec] | None = None
    routes: tuple[RouteLimitsSpec, ...] = ()
    rules: tuple[dict[str, Any], ...] = ()


class _Canonical(Spec):
    version: Literal[1]
    defaults: dict[LatencyClass, AllCapsSpec]
    routes: tuple[RouteLimitsSpec, ...] = ()
    rules: tuple[RuleSpec, ...] = Field(default=())


@dataclass(frozen=True)
class Rule:
    """A rule, compiled: its condition, what it takes away, and what it says."""

    spec: RuleSpec
    condition: Condition
    restrictions: Restrictions
    code: str
    wording: Wording
    place: Place | None = None
    """Where it stands, if it was read from a file; no part of what it is."""

    @property
    def id(self) -> str:
        """The rule's name, unique in its bundle."""
        return self.spec.id

    @classmethod
    def compile(cls, spec: RuleSpec, place: Place | None = None) -> Rule:
        """Compile a rule; raises ``ValueError`` in words for people."""
        if spec.id in RESERVED:
            raise ValueError(f"the id {spec.id!r} is taken by Waybill itself")
        code, text = spec.id.replace("-", "_"), spec.description.replace("{", "{{").replace("}", "}}")
        if spec.reason is not None:
            code, text = spec.reason.code, spec.reason.text
        return cls(spec, Condition(spec.when), spec.effects.restrictions(), code, Wording(text), place)


class Bundle:
    """Rules in the order of their ids, and the ceilings of each latency class and of routes; immutable."""

    def __init__(
        self,
        rules: Iterable[Rule],
        defaults: Mapping[LatencyClass, AllCapsSpec],
        routes: Iterable[RouteLimitsSpec] = (),
    ) -> None:
        """Take compiled rules with distinct ids, in any order, and ceilings for every latency class."""
        self.rules: tuple[Rule, ...] = tuple(sorted(rules, key=lambda rule: rule.id))
        self.classes: dict[LatencyClass, AllCapsSpec] = dict(defaults)
        self.routes: tuple[RouteLimitsSpec, ...] = tuple(sorted(routes, key=lambda limits: limits.model_dump_json()))
        self.defaults: dict[LatencyClass, Restrictions] = {
            latency_class: caps.restrictions() for latency_class, caps in defaults.items()
        }
        self.reads: frozenset[str] = frozenset().union(*[rule.condition.reads for rule in self.rules])
        self.hash: str = content_hash(self.content())

    @classmethod
    def load(cls, folder: Path, catalog: Catalog) -> Bundle:
        """Read all ``*.yaml`` of a folder as one bundle; raises :class:`BundleError` naming file, line and rule."""
        rules: dict[str, Rule] = {}
        routes: list[RouteLimitsSpec] = []
        defaults: dict[LatencyClass, AllCapsSpec] | None = None
        for path in sorted(folder.glob("*.yaml")):
            document = Document.read(path)
            file = parse_at(_File, document, error=BundleError)
            if file.defaults is not None and defaults is not None:
                raise BundleError(
                    f"{document.at(('defaults',))}: defaults stand in another file already.",
                    hint="Keep them in one file.",
                )
            defaults = file.defaults if file.defaults is not None else defaults
            routes += file.routes
            for number, content in enumerate(file.rules):
                rule = _rule(document, ("rules", number), content, catalog)
                if (other := rules.get(rule.id)) is not None:
                    raise BundleError(
                        f"{rule.place}: rule {rule.id}: this id is used twice; the other is at {other.place}.",
                        hint="Give one of them another id.",
                    )
                rules[rule.id] = rule
        if missing := [name for name in LatencyClass if name not in (defaults or {})]:
            raise BundleError(
                f"{folder}: no defaults for latency class {' and '.join(missing)}.",
                hint="Every latency class needs its ceilings: without them a job would have none.",
            )
        return cls(rules.values(), defaults or {}, routes)

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Bundle:
        """Return the bundle that :meth:`content` told; raises :class:`BundleError`."""
        kept = parse(_Canonical, content, where="bundle", error=BundleError)
        try:
            return cls([Rule.compile(spec) for spec in kept.rules], kept.defaults, kept.routes)
        except ValueError as error:
            raise BundleError(f"bundle: {error}.") from error

    def content(self) -> dict[str, Any]:
        """Return the bundle as JSON: what :attr:`hash` covers, and what can be kept in a database."""
        # What is as it would be if it were left out is left out: an effect of a later release changes no digest.
        return {
            "version": 1,
            "defaults": {
                str(name): caps.model_dump(mode="json", exclude_defaults=True)
                for name, caps in sorted(self.classes.items())
            },
            "routes": [limits.model_dump(mode="json", exclude_defaults=True) for limits in self.routes],
            "rules": [rule.spec.content() for rule in self.rules],
        }

    def without(self, rule_id: str) -> Bundle:
        """Return this bundle without one of its rules."""
        return Bundle([rule for rule in self.rules if rule.id != rule_id], self.classes, self.routes)


def _rule(document: Document, steps: Steps, content: dict[str, Any], catalog: Catalog) -> Rule:
    place = document.at(steps)
    what = f"rule {content.get('id', int(steps[-1]) + 1)}"
    spec = parse_at(RuleSpec, document, steps=steps, what=what, error=BundleError)
    for field in ("allow_providers", "deny_providers"):
        if unknown := sorted(set(getattr(spec.effects, field) or ()) - catalog.providers.keys()):
            raise BundleError(
                f"{document.at((*steps, 'effects', field))}: {what}: the catalog has no provider "
                f"{' or '.join(unknown)}.",
                hint="A misspelt denial would deny nothing: correct the name, or add the provider to catalog.yaml.",
            )
    try:
        return Rule.compile(spec, place)
    except ConditionSourceError as error:
        place = document.within((*steps, "when"), error.line, error.column)
        raise BundleError(f"{place}: {what}: {error}.") from error
    except ValueError as error:
        raise BundleError(f"{place}: {what}: {error}.") from error
