"""The pattern engine: many regular expressions over one text in a single linear pass (Hyperscan).

A :class:`Scanner` is compiled once and immutable; its scratch memory is per thread. A scan stops at its limit of
reported matches, so that no text, however made, costs more than its length plus that limit.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import hyperscan

_ESCAPE_OR_UPPER: Final = re.compile(r"\\.|[A-Z]")


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression over UTF-8 bytes; ``spans`` asks for where it begins, else it is reported once, at most."""

    regex: str
    ignore_case: bool
    spans: bool

    @property
    def flags(self) -> int:
        """Hyperscan's flags for it."""
        return int(hyperscan.HS_FLAG_SOM_LEFTMOST if self.spans else hyperscan.HS_FLAG_SINGLEMATCH)

    @property
    def compiled_regex(self) -> bytes:
        """The regex as the engine gets it: in lower case when case does not matter, escapes like ``\\S`` left alone."""
        regex = _ESCAPE_OR_UPPER.sub(_lowered, self.regex) if self.ignore_case else self.regex
        return regex.encode()


class Scanner:
    """A compiled set of expressions. Safe to share between threads.

    What ignores case is looked for in the text in lower case (of ASCII, so that positions stay): the engine's own way
    of ignoring case takes longer to compile. Raises ``ValueError`` naming the expression that does not compile.
    """

    def __init__(self, expressions: Sequence[Expression]) -> None:
        try:
            self._databases = [
                (ignore_case, _compiled(ids, [expressions[index] for index in ids]))
                for ignore_case in (False, True)
                if (ids := [at for at, expression in enumerate(expressions) if expression.ignore_case is ignore_case])
            ]
        except hyperscan.error:
            for expression in expressions:
                try:
                    _compiled([0], [expression])
                except hyperscan.error as error:
                    raise ValueError(f"{expression.regex!r} does not compile: {error}") from error
            raise
        self._own = threading.local()

    def scan(self, data: bytes, limit: int) -> tuple[list[tuple[int, int, int]], bool]:
        """Return ``(expression, start, end)`` in byte offsets for every match end, and whether the limit cut it short.

        An expression is its index in the sequence compiled. ``start`` is 0 for expressions without spans.
        """
        matches: list[tuple[int, int, int]] = []

        def report(expression: int, start: int, end: int, _flags: int, _context: object) -> bool:
            matches.append((expression, start, end))
            return len(matches) >= limit

        try:
            for (ignore_case, database), scratch in zip(self._databases, self._scratches(), strict=True):
                database.scan(data.lower() if ignore_case else data, match_event_handler=report, scratch=scratch)
        except hyperscan.ScanTerminated:
            return matches, True
        return matches, False

    def _scratches(self) -> list[hyperscan.Scratch]:
        scratches: list[hyperscan.Scratch] | None = getattr(self._own, "scratches", None)
        if scratches is None:
            scratches = self._own.scratches = [database.scratch.clone() for _, database in self._databases]
        return scratches


def _compiled(ids: Sequence[int], expressions: Sequence[Expression]) -> hyperscan.Database:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[expression.compiled_regex for expression in expressions],
        ids=list(ids),
        elements=len(expressions),
        flags=[expression.flags for expression in expressions],
    )
    return database


def _lowered(found: re.Match[str]) -> str:
    return found.group() if found.group().startswith("\\") else found.group().lower()
