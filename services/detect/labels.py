"""What follows from all that is in a job: data class, risk tier and action class, with the rules that made them so."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from services.detect.classes import Cause, causes
from services.detect.rules import data_class_rules, label_rules
from services.detect.rules.labels import Subject

_REMEMBERED: Final = 4_096
_NOTHING: Final[frozenset[str]] = frozenset()


class Situation(NamedTuple):
    """What rules look at; more of anything never lowers a label.

    ``task`` is the one that the caller named, ``trust`` that of the documents, ``scopes`` what the tools asked for do,
    ``own_classes`` the data classes of types that are not the product's.
    """

    types: frozenset[str] = _NOTHING
    declared: str | None = None
    truncated: bool = False
    trust: frozenset[str] = _NOTHING
    task: str | None = None
    domains: frozenset[str] = _NOTHING
    scopes: frozenset[str] = _NOTHING
    suspected: bool = False
    own_classes: tuple[tuple[str, str], ...] = ()


class Labelled(NamedTuple):
    """The labels, each with the rules or finding types that gave it."""

    data_class: str
    data_class_by: tuple[str, ...]
    risk_tier: str
    risk_tier_by: tuple[str, ...]
    action_class: str
    action_class_by: tuple[str, ...]


@lru_cache(maxsize=_REMEMBERED)
def labelled(situation: Situation) -> Labelled:
    """Return the labels of a job; raises ``ValueError`` for a declared data class that is none."""
    order = data_class_rules().order
    asked = _causes(situation)
    rank = asked[0].rank
    found = _found(situation) | {"data_class": frozenset(order[: rank + 1])}
    rules = label_rules()
    risk_tier, made_risk = rules.risk_tier.label(found)
    action_class, made_action = rules.action_class.label(found)
    return Labelled(
        data_class=order[rank],
        data_class_by=tuple(cause.rule for cause in asked if cause.rank == rank),
        risk_tier=risk_tier,
        risk_tier_by=made_risk,
        action_class=action_class,
        action_class_by=made_action,
    )


def explained(situation: Situation) -> list[str]:
    """Return in words what asks for the data class, the strictest first, and which rules made the other labels."""
    made = labelled(situation)
    return [
        *(cause.words for cause in _causes(situation)),
        f"risk {made.risk_tier}: {', '.join(made.risk_tier_by) or 'no rule asks for more'}",
        f"action {made.action_class}: {', '.join(made.action_class_by) or 'no rule asks for more'}",
    ]


def _causes(situation: Situation) -> list[Cause]:
    asked = causes(
        situation.types,
        situation.declared,
        truncated=situation.truncated,
        own=dict(situation.own_classes),
        found=_found(situation),
    )
    return sorted(asked, key=lambda cause: -cause.rank)


def _found(situation: Situation) -> dict[Subject, frozenset[str]]:
    return {
        "types": situation.types,
        "trust": situation.trust,
        "tasks": _NOTHING if situation.task is None else frozenset({situation.task}),
        "domains": situation.domains,
        "scopes": situation.scopes,
        "injection": frozenset({"suspected"}) if situation.suspected else _NOTHING,
        "data_class": _NOTHING,
    }
