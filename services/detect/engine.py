"""The pattern engine: many regular expressions over one text in a single linear pass (Hyperscan).

A :class:`Scanner` is compiled once and immutable; its scratch memory is per thread. A scan stops at its limit of
reported matches, so that no text, however made, costs more than its length plus that limit.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import hyperscan


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression over UTF-8 bytes; ``spans`` asks for where it begins, else it is reported once, at most."""

    regex: str
    ignore_case: bool
    spans: bool

    @property
    def flags(self) -> int:
        """Hyperscan's flags for it."""
        case = hyperscan.HS_FLAG_CASELESS if self.ignore_case else 0
        return int(case | (hyperscan.HS_FLAG_SOM_LEFTMOST if self.spans else hyperscan.HS_FLAG_SINGLEMATCH))


class Scanner:
    """A compiled set of expressions. Safe to share between threads.

    Raises ``ValueError`` naming the expression that does not compile.
    """

    def __init__(self, expressions: Sequence[Expression]) -> None:
        try:
            self._database = _compiled(expressions)
        except hyperscan.error:
            for expression in expressions:
                try:
                    _compiled([expression])
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
            self._database.scan(data, match_event_handler=report, scratch=self._scratch())
        except hyperscan.ScanTerminated:
            return matches, True
        return matches, False

    def _scratch(self) -> hyperscan.Scratch:
        scratch = getattr(self._own, "scratch", None)
        if scratch is None:
            scratch = self._own.scratch = self._database.scratch.clone()
        return scratch


def _compiled(expressions: Sequence[Expression]) -> hyperscan.Database:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[expression.regex.encode() for expression in expressions],
        ids=list(range(len(expressions))),
        elements=len(expressions),
        flags=[expression.flags for expression in expressions],
    )
    return database
