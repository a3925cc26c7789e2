"""The condition of a rule: a CEL expression over a job's features, compiled once.

A condition that cannot be evaluated must never widen access, so :meth:`Condition.holds` raises and its caller takes
the rule as true. What can be refused when the bundle is loaded is refused there: unknown names, unknown functions, and
nested macros, whose work grows with a power of the lists' lengths.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, Final

import cel

from schemas.features import Features

ATTRIBUTES: Final = frozenset(Features.model_fields)
MAX_CHARACTERS: Final = 2_000
_FUNCTIONS: Final = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "min", "max"}
    | {"int", "uint", "double", "string", "bytes", "timestamp", "duration"}
)
_PARTS: Final = re.compile(
    r"(?P<string>\"\"\".*?\"\"\"|\'\'\'.*?\'\'\'|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')|(?P<gap>(?:\s|//[^\n]*)+)",
    re.DOTALL,
)
_STRING: Final = re.compile(r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)
_MACRO: Final = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*(\w+)")


class ConditionSourceError(ValueError):
    """A condition cannot be compiled; `line` and `column` of its text, from 1, are where."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class ConditionError(Exception):
    """A condition could not be evaluated; only the kind of the error is told, since its text may quote a job."""


class Condition:
    """A compiled condition; `reads` are the features that it looks at."""

    def __init__(self, source: str) -> None:
        """Compile `source`; raises :class:`ConditionSourceError` in words for people."""
        if len(source) > MAX_CHARACTERS:
            raise ConditionSourceError(f"the condition is longer than {MAX_CHARACTERS:,} characters")
        self.source = source
        try:
            self._program = cel.compile(source)
        except ValueError as error:
            raise ConditionSourceError(
                f"the condition {normal(source)!r} is not CEL: {_first_problem(str(error))}", *_position(str(error))
            ) from error
        bare = _STRING.sub(lambda found: '"' + "_" * (len(found[0]) - 2) + '"', source)
        if nested := _nested_macro(bare):
            raise ConditionSourceError(
                "a macro (all, exists, exists_one, map, filter) may not stand inside another one", *_at(source, nested)
            )
        names = set(self._program.variables()) - set(_MACRO.findall(bare))
        if unknown := sorted(names - ATTRIBUTES):
            near = get_close_matches(unknown[0], ATTRIBUTES, n=1)
            raise ConditionSourceError(
                f"the condition reads {', '.join(unknown)}, which no job has"
                + (f"; did you mean {near[0]}?" if near else ""),
                *_at(source, _first(bare, unknown[0])),
            )
        called = {name for name in self._program.functions() if name.isidentifier() and "_" not in name}
        if unknown := sorted(called - _FUNCTIONS):
            raise ConditionSourceError(
                f"the condition calls {', '.join(unknown)}, which does not exist",
                *_at(source, _first(bare, unknown[0])),
            )
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


def normal(source: str) -> str:
    """Return a condition in one written form: without comments, with single spaces."""
    return _PARTS.sub(lambda part: part["string"] or " ", source).strip()


def _position(text: str) -> tuple[int, int]:
    found = re.search(r"<input>:(\d+):(\d+):", text)
    return (int(found[1]), int(found[2])) if found else (1, 1)


def _at(source: str, offset: int) -> tuple[int, int]:
    before = source[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def _first(bare: str, name: str) -> int:
    found = re.search(rf"\b{re.escape(name)}\b", bare)
    return found.start() if found else 0


def _nested_macro(bare: str) -> int:
    """Return where a macro stands inside another one, 0 for nowhere."""
    for macro in _MACRO.finditer(bare):
        depth = 1
        for position in range(macro.end(), len(bare)):
            depth += {"(": 1, ")": -1}.get(bare[position], 0)
            if depth == 0:
                break
            if _MACRO.match(bare, position):
                return position
    return 0
