"""From finding types and a declared class to the data class: ``public < internal < confidential < regulated``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Final, NamedTuple

from services.detect.rules import data_class_rules, type_groups
from services.detect.rules.labels import Subject

_DECLARED: Final = "declared"
_UNDECLARED: Final = "undeclared"
_TRUNCATED: Final = "truncated"
NO_CLASSES: Final[Mapping[str, str]] = {}


class Cause(NamedTuple):
    """Something that asks for a class: how strict that is, the rule or finding type that says so, and in words."""

    rank: int
    rule: str
    words: str


def data_class(finding_types: Collection[str], declared: str | None, truncated: bool) -> str:
    """Return the strictest class that the types, the declaration and the completeness of the analysis ask for.

    What was declared can only be raised; undeclared data starts at the rules' default. A type that no rule knows and an
    analysis that is not complete get the strictest class. Raises ``ValueError`` for a declared class that is none.
    """
    return data_class_rules().order[max(cause.rank for cause in causes(finding_types, declared, truncated=truncated))]


def causes(
    types: Collection[str],
    declared: str | None,
    *,
    truncated: bool,
    own: Mapping[str, str] = NO_CLASSES,
    found: Mapping[Subject, frozenset[str]] | None = None,
) -> Iterator[Cause]:
    """Yield everything that asks for a class; the strictest one asked for is the class.

    ``own`` are the classes of types that are not the product's; ``found`` is what else rules look at. Raises
    ``ValueError`` for a declared class that is none.
    """
    rules = data_class_rules()
    order = rules.order
    if declared is not None and declared not in order:
        raise ValueError(f"unknown data class {declared!r}; known are {', '.join(order)}")
    if truncated:
        yield Cause(len(order) - 1, _TRUNCATED, f"{order[-1]}: not everything could be looked at")
    for type_ in sorted(set(types)):
        rank = class_rank(type_, own)
        yield Cause(rank, type_, f"{order[rank]}: {type_}")
    for together in rules.together:
        if all(set(types).intersection(alternatives) for alternatives in together.each_of):
            each = [" or ".join(sorted(set(types).intersection(some))) for some in together.each_of]
            rank = order.index(together.data_class)
            yield Cause(rank, "+".join(each), f"{together.data_class}: {' with '.join(each)}")
    for rule in rules.raised if found is not None else ():
        if found is not None and rule.holds(found):
            yield Cause(order.index(rule.label), rule.id, f"{rule.label}: {rule.id}")
    if declared is None:
        yield Cause(order.index(rules.default), _UNDECLARED, f"{rules.default}: nothing was declared")
    else:
        yield Cause(order.index(declared), _DECLARED, f"{declared}: declared")


@cache
def _known_ranks() -> dict[str, int]:
    rules = data_class_rules()
    return {
        type_: rules.order.index(rules.types.get(type_, rules.groups[group])) for type_, group in type_groups().items()
    }


def class_rank(type_: str, own: Mapping[str, str] = NO_CLASSES) -> int:
    """Return how strict the class of a type is, 0 being the most open; the strictest for a type that no rule knows."""
    known = _known_ranks().get(type_)
    if known is not None:
        return known
    order = data_class_rules().order
    return order.index(own[type_]) if type_ in own else len(order) - 1
