"""The policy bundle: rules, and the ceilings of each latency class, read from the YAML files of a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import StringConstraints

from schemas.codes import LatencyClass
from services.policy.catalog import Catalog
from services.policy.condition import Condition
from services.policy.errors import BundleError
from services.policy.files import Spec, content_hash, parse, read_yaml
from services.policy.restrictions import AllCapsSpec, Effects, Restrictions, amounts
from services.policy.wording import Wording

RESERVED: Final = frozenset({"alias", "catalog", "defaults", "job", "tenant"})
"""What reasons name as the rule when none of the bundle's rules is behind them."""


class ReasonSpec(Spec):
    """The code and the words that a rule gives when it applies."""

    code: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    text: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class RuleSpec(Spec):
    """A rule as its file has it."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)]
    description: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    when: Annotated[str, StringConstraints(min_length=1)]
    reason: ReasonSpec | None = None
    effects: Effects


class _File(Spec):
    version: Literal[1]
    defaults: dict[LatencyClass, AllCapsSpec] | None = None
    rules: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Rule:
    """A rule, compiled: its condition, what it takes away, and what it says."""

    spec: RuleSpec
    condition: Condition
    restrictions: Restrictions
    code: str
    wording: Wording

    @property
    def id(self) -> str:
        """The rule's name, unique in its bundle."""
        return self.spec.id

    @classmethod
    def compile(cls, spec: RuleSpec) -> Rule:
        """Compile a rule; raises ``ValueError`` in words for people."""
        if spec.id in RESERVED:
            raise ValueError(f"the id {spec.id!r} is taken by Waybill itself")
        code, text = spec.id.replace("-", "_"), spec.description.replace("{", "{{").replace("}", "}}")
        if spec.reason is not None:
            code, text = spec.reason.code, spec.reason.text
        return cls(spec, Condition(spec.when), spec.effects.restrictions(), code, Wording(text))


class Bundle:
    """Rules in the order of their ids, and the ceilings of each latency class; immutable."""

    def __init__(self, rules: Iterable[Rule], defaults: Mapping[LatencyClass, AllCapsSpec]) -> None:
        """Take compiled rules with distinct ids, in any order, and ceilings for every latency class."""
        self.rules: tuple[Rule, ...] = tuple(sorted(rules, key=lambda rule: rule.id))
        self.defaults: dict[LatencyClass, Restrictions] = {
            latency_class: Restrictions(**amounts(caps)) for latency_class, caps in defaults.items()
        }
        self.reads: frozenset[str] = frozenset().union(*[rule.condition.reads for rule in self.rules])
        self.hash: str = content_hash(
            {
                "defaults": {name: caps.model_dump(mode="json") for name, caps in defaults.items()},
                "rules": [rule.spec.model_dump(mode="json") for rule in self.rules],
            }
        )

    @classmethod
    def load(cls, folder: Path, catalog: Catalog) -> Bundle:
        """Read all ``*.yaml`` of a folder as one bundle; raises :class:`BundleError` naming file and rule."""
        rules: dict[str, Rule] = {}
        defaults: dict[LatencyClass, AllCapsSpec] | None = None
        for path in sorted(folder.glob("*.yaml")):
            file = parse(_File, read_yaml(path), where=str(path), error=BundleError)
            if file.defaults is not None and defaults is not None:
                raise BundleError(f"{path}: defaults stand in another file already.", hint="Keep them in one file.")
            defaults = file.defaults if file.defaults is not None else defaults
            for number, content in enumerate(file.rules, start=1):
                rule = _rule(content, where=f"{path}: rule {content.get('id', number)}", catalog=catalog)
                if rule.id in rules:
                    raise BundleError(f"{path}: rule {rule.id}: this id is used twice.", hint="Give it another id.")
                rules[rule.id] = rule
        if missing := [name for name in LatencyClass if name not in (defaults or {})]:
            raise BundleError(
                f"{folder}: no defaults for latency class {' and '.join(missing)}.",
                hint="Every latency class needs its ceilings: without them a job would have none.",
            )
        return cls(rules.values(), defaults or {})


def _rule(content: dict[str, Any], *, where: str, catalog: Catalog) -> Rule:
    spec = parse(RuleSpec, content, where=where, error=BundleError)
    named = {*(spec.effects.allow_providers or ()), *spec.effects.deny_providers}
    if unknown := sorted(named - catalog.providers.keys()):
        raise BundleError(
            f"{where}: the catalog has no provider {' or '.join(unknown)}.",
            hint="A misspelt denial would deny nothing: correct the name, or add the provider to catalog.yaml.",
        )
    try:
        return Rule.compile(spec)
    except ValueError as error:
        raise BundleError(f"{where}: {error}.") from error
