"""Jobs that the conditions of a bundle tell apart: what a linter tries a rule on.

A condition compares features with values that it names. So a few values for each feature are enough to see what it
does: each member of a closed vocabulary, every value named, one beside it, and none.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from itertools import product
from math import prod
from typing import Any, Final

from schemas.codes import ActionClass, DataClass, LatencyClass, Operation, RiskTier, ToolScope
from schemas.features import Features
from services.policy.bundle import Rule

TRIED: Final = 2_000
"""Combinations tried for a rule; where there are more, as many are drawn, always the same ones."""

ORDINARY_JOB: Final[dict[str, Any]] = {
    "tenant": "any-tenant",
    "latency_class": "background",
    "operation": "chat",
    "task": "summarise",
    "task_confidence": 0.9,
    "language": "en",
    "input_tokens": 1_000,
    "characters": 4_000,
    "messages": 2,
    "documents": 0,
    "untrusted_documents": 0,
    "tools": [],
    "structured_output": False,
    "quality": "standard",
    "data_class": "internal",
    "domains": [],
    "risk_tier": "low",
    "action_class": "read_only",
    "injection_suspected": False,
    "findings": {},
}

_VOCABULARIES: Final[dict[str, list[Any]]] = {
    "latency_class": [str(name) for name in LatencyClass],
    "operation": [str(name) for name in Operation],
    "data_class": [str(name) for name in DataClass],
    "declared_data_class": [None, *(str(name) for name in DataClass)],
    "risk_tier": [str(name) for name in RiskTier],
    "action_class": [None, *(str(name) for name in ActionClass)],
    "quality": ["standard", "high"],
    "retention": [None, "zero", "any"],
    "structured_output": [False, True],
    "injection_suspected": [False, True],
    "tokens_exact": [False, True],
}
_NULLABLE: Final = frozenset({"user_tier", "alias", "model"})
_LISTS: Final = frozenset({"tools", "domains", "untrusted_sources", "injection_signals"})
_TABLES: Final[dict[str, list[Any] | None]] = {
    "findings": None,
    "tokens_at_most": None,
    "tool_scopes": [str(name) for name in ToolScope],
}
"""Features by key, with the values that there are; None for counts."""
_SHARES: Final = frozenset({"task_confidence", "injection_score"})
_NULLABLE_LISTS: Final = frozenset({"regions", "providers"})
_NULLABLE_COUNTS: Final = frozenset({"max_output_tokens", "max_tool_calls"})
_OTHER: Final = "something-else"
_LONGEST: Final = 40
"""Lists are tried up to this length, where a condition counts."""

_TEXT: Final = re.compile(r"\"((?:\\.|[^\"\\])*)\"|'((?:\\.|[^'\\])*)'")
_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
_KEYS: Final = {name: re.compile(rf"\b{name}\s*\.\s*([a-z]\w*)|\b{name}\s*\[\s*[\"']([^\"']+)") for name in _TABLES}
_NO_KEY: Final = frozenset({"exists", "all", "map", "filter", "exists_one", "size"})


def ordinary(**changes: Any) -> Features:
    """Return the features of an ordinary job, some of them changed; raises ``ValueError`` on an unknown one."""
    if unknown := sorted(set(changes) - set(Features.model_fields)):
        raise ValueError(f"no job has the feature {', '.join(unknown)}")
    return Features.model_validate({**ORDINARY_JOB, **changes})


def situations(rules: Iterable[Rule], *, most: int = TRIED) -> Iterator[dict[str, Any]]:
    """Yield values for all the features that rules read, in the combinations that tell them apart."""
    members = list(rules)
    source = "\n".join(rule.spec.when for rule in members)
    reads = sorted(set().union(*(rule.condition.reads for rule in members)))
    values = [_values(name, source) for name in reads]
    if prod(len(some) for some in values) <= most:
        for combination in product(*values):
            yield dict(zip(reads, combination, strict=True))
        return
    chance = random.Random(0)  # noqa: S311 - nothing secret: the same combinations each time
    for _ in range(most):
        yield {name: chance.choice(some) for name, some in zip(reads, values, strict=True)}


def _values(name: str, source: str) -> list[Any]:
    if name in _VOCABULARIES:
        return _VOCABULARIES[name]
    texts = sorted({found[1] or found[2] or "" for found in _TEXT.finditer(source)} - {""})
    numbers = sorted({float(found[0]) for found in _NUMBER.finditer(_TEXT.sub("", source))})
    lengths = sorted({1, *(int(number) + step for number in numbers if number <= _LONGEST for step in (0, 1))} - {0})
    others = [[f"{_OTHER}-{number}" for number in range(length)] for length in lengths]
    if name in _LISTS | _NULLABLE_LISTS:
        none: list[Any] = [[]] if name in _LISTS else [None]
        return [*none, *([text] for text in texts), *([texts] if len(texts) > 1 else []), *others]
    if name in _TABLES:
        keys = sorted({found[1] or found[2] for found in _KEYS[name].finditer(source)} - _NO_KEY | set(texts))
        items = _TABLES[name] or sorted({1, *(int(number) + 1 for number in numbers)})
        many = [dict.fromkeys(some, items[0]) for some in others]
        return [{}, *({key: item} for key in keys for item in items), *many]
    if name in _SHARES:
        near = {round(number + step, 4) for number in numbers for step in (-0.01, 0.0, 0.01)}
        return sorted(value for value in {0.0, 0.5, 1.0} | near if 0 <= value <= 1)
    if name == "max_cost_usd":
        return [None, "0.01", *(f"{number:g}" for number in numbers)]
    if name in _NULLABLE or name in ("tenant", "task", "language"):
        return [*([None] if name in _NULLABLE else []), *texts, _OTHER]
    counts = sorted({0, 1, *(max(int(number) + step, 0) for number in numbers for step in (-1, 0, 1))})
    return [*([None] if name in _NULLABLE_COUNTS else []), *counts]
