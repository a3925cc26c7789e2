"""From finding types and a declared class to the data class: ``public < internal < confidential < regulated``."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from services.detect.rules import data_class_rules, type_groups


def data_class(finding_types: Collection[str], declared: str | None, truncated: bool) -> str:
    """Return the strictest class that the types, the declaration and the completeness of the analysis ask for.

    What was declared can only be raised; undeclared data starts at the rules' default. A type that no rule knows and an
    analysis that is not complete get the strictest class. Raises ``ValueError`` for a declared class that is none.
    """
    rules = data_class_rules()
    if declared is not None and declared not in rules.order:
        raise ValueError(f"unknown data class {declared!r}; known are {', '.join(rules.order)}")
    types = set(finding_types)
    ranks = [class_rank(type_) for type_ in types]
    for rule in rules.together:
        if all(types.intersection(alternatives) for alternatives in rule.each_of):
            ranks.append(rules.order.index(rule.data_class))
    ranks.append(rules.order.index(rules.default if declared is None else declared))
    if truncated:
        ranks.append(len(rules.order) - 1)
    return rules.order[max(ranks)]


def class_reasons(types: Collection[str], *, truncated: bool) -> list[str]:
    """Return in words what makes the class of these types, the strictest first."""
    rules = data_class_rules()
    reasons = [(class_rank(type_), f"{rules.order[class_rank(type_)]}: {type_}") for type_ in sorted(set(types))]
    for rule in rules.together:
        if all(set(types).intersection(alternatives) for alternatives in rule.each_of):
            found = [" or ".join(sorted(set(types).intersection(alternatives))) for alternatives in rule.each_of]
            reasons.append((rules.order.index(rule.data_class), f"{rule.data_class}: {' with '.join(found)}"))
    if truncated:
        reasons.append((len(rules.order), f"{rules.order[-1]}: not everything could be looked at"))
    return [reason for _, reason in sorted(reasons, key=lambda item: -item[0])]


@cache
def _known_ranks() -> dict[str, int]:
    rules = data_class_rules()
    return {
        type_: rules.order.index(rules.types.get(type_, rules.groups[group])) for type_, group in type_groups().items()
    }


def class_rank(type_: str) -> int:
    """Return how strict the class of a type is, 0 being the most open; the strictest for a type that no rule knows."""
    return _known_ranks().get(type_, len(data_class_rules().order) - 1)
