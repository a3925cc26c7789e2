"""Which rules apply to a job: their conditions evaluated, and remembered by the features that they read.

Rules that read the same features are one group, evaluated together and remembered by the values of those features: a
hundred rules over three features cost one look-up when these three were seen before, whatever else a job has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import cel

from services.policy.bundle import Rule
from services.policy.condition import ConditionError

REMEMBERED: Final = 512
"""Combinations of values kept for each group of rules."""


class Fired(NamedTuple):
    """A rule that applies, and if its condition could not be evaluated the kind of the error."""

    rule: Rule
    error: str | None


class Matcher:
    """Evaluates the rules of a bundle for jobs, given as their features in values that can be hashed."""

    def __init__(
        self, rules: tuple[Rule, ...], thaw: Callable[[str, Any], Any], *, remembered: int = REMEMBERED
    ) -> None:
        """Take rules in the order of their ids; `thaw` turns a value into what conditions see."""
        groups: dict[frozenset[str], list[tuple[int, Rule]]] = {}
        for place, rule in enumerate(rules):
            groups.setdefault(rule.condition.reads, []).append((place, rule))
        self._groups = [
            (tuple(sorted(reads)), lru_cache(maxsize=remembered)(_evaluator(sorted(reads), members, thaw)))
            for reads, members in groups.items()
        ]

    def fired(self, job: Mapping[str, Any]) -> list[Fired]:
        """Return the rules that apply, in the order of their ids."""
        found: list[tuple[int, Fired]] = []
        for names, evaluate in self._groups:
            found += evaluate(tuple([job[name] for name in names]))
        found.sort(key=lambda one: one[0])
        return [fired for _, fired in found]


def _evaluator(
    names: list[str], members: list[tuple[int, Rule]], thaw: Callable[[str, Any], Any]
) -> Callable[[tuple[Any, ...]], tuple[tuple[int, Fired], ...]]:
    def evaluate(values: tuple[Any, ...]) -> tuple[tuple[int, Fired], ...]:
        context = cel.Context()
        context.update({name: thaw(name, value) for name, value in zip(names, values, strict=True)})
        return tuple((place, fired) for place, rule in members if (fired := _fired(rule, context)) is not None)

    return evaluate


def _fired(rule: Rule, context: cel.Context) -> Fired | None:
    try:
        return Fired(rule, None) if rule.condition.holds(context) else None
    except ConditionError as error:
        return Fired(rule, str(error))
