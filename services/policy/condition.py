"""The condition of a rule: a CEL expression over a job's features, compiled once.

A condition that cannot be evaluated must never widen access, so :meth:`Condition.holds` raises and its caller takes
the rule as true. What can be refused when the bundle is loaded is refused there: unknown names, unknown functions, and
nested macros, whose work grows with a power of the lists' lengths.
"""

from __future__ import annotations

import re
from typing import Any, Final

import cel

from schemas.features import Features

ATTRIBUTES: Final = frozenset(Features.model_fields)
MAX_CHARACTERS: Final = 2_000
_FUNCTIONS: Final = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "min", "max"}
    | {"int", "uint", "double", "string", "bytes", "timestamp", "duration"}
)
_STRING: Final = re.compile(r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)
_MACRO: Final = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*(\w+)")


class ConditionError(Exception):
    """A condition could not be evaluated; only the kind of the error is told, since its text may quote a job."""


class Condition:
    """A compiled condition; `reads` are the features that it looks at."""

    def __init__(self, source: str) -> None:
        """Compile `source`; raises ``ValueError`` in words for people."""
        if len(source) > MAX_CHARACTERS:
            raise ValueError(f"the condition is longer than {MAX_CHARACTERS:,} characters")
        self.source = source
        try:
            self._program = cel.compile(source)
        except ValueError as error:
            raise ValueError(f"the condition {source!r} is not CEL: {_first_problem(str(error))}") from error
        bare = _STRING.sub('""', source)
        if _nests_macros(bare):
            raise ValueError("a macro (all, exists, exists_one, map, filter) may not stand inside another one")
        names = set(self._program.variables()) - set(_MACRO.findall(bare))
        if unknown := sorted(names - ATTRIBUTES):
            raise ValueError(f"the condition reads {', '.join(unknown)}, which no job has")
        called = {name for name in self._program.functions() if name.isidentifier() and "_" not in name}
        if unknown := sorted(called - _FUNCTIONS):
            raise ValueError(f"the condition calls {', '.join(unknown)}, which does not exist")
        self.reads: frozenset[str] = frozenset(names)

    def holds(self, context: cel.Context) -> bool:
        """Tell whether the condition is true; raises :class:`ConditionError` when that cannot be said."""
        try:
            value: Any = self._program.execute(context)
        except Exception as error:
            raise ConditionError(type(error).__name__) from error
        if not isinstance(value, bool):
            raise ConditionError(f"a {type(value).__name__} instead of true or false")
        return value


def _first_problem(text: str) -> str:
    found = re.search(r"Syntax error: (.*)", text)
    return found[1] if found else text.splitlines()[0]


def _nests_macros(bare: str) -> bool:
    for macro in _MACRO.finditer(bare):
        depth = 1
        for position in range(macro.end(), len(bare)):
            depth += {"(": 1, ")": -1}.get(bare[position], 0)
            if depth == 0:
                break
            if _MACRO.match(bare, position):
                return True
    return False
