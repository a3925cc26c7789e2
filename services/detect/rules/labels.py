"""The form of rules that give a job a label: ``labels.yaml``, and ``raised`` in ``data_classes.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Scope = Literal["read", "write", "execute", "human_gate"]
Subject = Literal["types", "trust", "tasks", "domains", "scopes", "injection", "data_class"]
"""What rules look at. ``tasks`` is the one that the caller named, ``trust`` that of documents."""
Alternatives = Annotated[tuple[str, ...], Field(min_length=1)]

ANY: Final = "*"
_CLOSED: Final[Mapping[Subject, frozenset[str]]] = {
    "trust": frozenset({"trusted", "internal", "web", "email", "upload", "untrusted"}),
    "domains": frozenset({"medical", "legal", "finance"}),
    "scopes": frozenset(get_args(Scope)),
    "injection": frozenset({"suspected"}),
    "data_class": frozenset({"public", "internal", "confidential", "regulated"}),
}


class LabelRule(BaseModel):
    """Gives ``label`` where something of each list is there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    label: str
    when: Annotated[dict[Subject, Alternatives], Field(min_length=1)]

    @model_validator(mode="after")
    def _asks_for_what_can_be(self) -> Self:
        for subject, alternatives in self.when.items():
            known = _CLOSED.get(subject)
            if known is not None and (unknown := set(alternatives) - known - {ANY}):
                raise ValueError(f"rule {self.id}: {subject} are never {', '.join(sorted(unknown))}")
        return self

    def holds(self, found: Mapping[Subject, frozenset[str]]) -> bool:
        """Tell whether something of each list is in what was found."""
        return all(
            bool(there) if ANY in alternatives else not there.isdisjoint(alternatives)
            for there, alternatives in ((found[subject], some) for subject, some in self.when.items())
        )


class LabelRules(BaseModel):
    """Rules for one label. ``order`` runs from the least to the most careful; the first is that of an ordinary job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order: tuple[str, ...]
    rules: tuple[LabelRule, ...]

    @model_validator(mode="after")
    def _labels_are_in_the_order(self) -> Self:
        if unknown := {rule.label for rule in self.rules} - set(self.order):
            raise ValueError(f"labels missing from the order: {sorted(unknown)}")
        return self

    def label(self, found: Mapping[Subject, frozenset[str]]) -> tuple[str, tuple[str, ...]]:
        """Return the label, and the rules that make it so."""
        held = [rule for rule in self.rules if rule.holds(found)]
        label = max((rule.label for rule in held), key=self.order.index, default=self.order[0])
        return label, tuple(rule.id for rule in held if rule.label == label)


class Labels(BaseModel):
    """The file ``labels.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    risk_tier: LabelRules
    action_class: LabelRules


class ToolRules(BaseModel):
    """The file ``tools.yaml``: scopes by words of names; ``*`` in a word is the rest of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order: tuple[Scope, ...]
    unknown: Scope
    words: dict[Scope, tuple[str, ...]]
    things: tuple[str, ...]
