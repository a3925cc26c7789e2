"""Identifiers and secrets by pattern: one scan finds candidates, cheap checks on the text make them findings.

Two limits bound the work on any text: how many matches the scan may report, and how much validating may be done. A
text that reaches one of them is *truncated*: what was found so far stands, and there may be more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from services.detect.classes import NO_CLASSES, class_rank
from services.detect.engine import Expression, Scanner
from services.detect.findings import Finding, capped, without_overlaps
from services.detect.rules import Group, Pattern, pattern_files, type_groups
from services.detect.validators import Validator, validator

MAX_FINDINGS: Final = 1_000
MAX_MATCHES: Final = 20_000
MAX_VALIDATION: Final = 30_000

# A tail (a key's body, a token's rest) is looked for this far; secrets are shorter.
_MAX_TAIL_CHARACTERS: Final = 16_384
# Characters before a finding that ``not_before`` sees.
_LOOK_BACK: Final = 16
# Ends tried for one start, the longest first: an IBAN followed by words has about ten.
_MAX_ENDS: Final = 32

# A text of this length may be one value and nothing else; what may stand around it; how sure it is without its words.
_MAX_LONE_CHARACTERS: Final = 80
_AROUND_LONE: Final = " \t\r\n.,;:'\"()"
_ALONE: Final = 0.6

# Each so many characters of a match or of a value cost one unit more to check.
_LONG: Final = 16
# So do each so many characters before the match that its value may begin in.
_BACK: Final = 8
# What it costs to look for a value inside its match.
_SEARCH: Final = 2

# A secret inside a personal identifier, or beside one, is redacted as a secret.
_GROUP_RANK: Final[dict[Group, int]] = {
    **{"credential": 5, "health": 4, "personal": 3},
    **{"business": 2, "trace": 1, "document": 0},
}


@dataclass(frozen=True, slots=True)
class _Rule:
    """A pattern with its checks compiled."""

    pattern: Pattern
    check: Validator | None
    alone: re.Pattern[str] | None
    extend: re.Pattern[str] | None
    value: re.Pattern[str] | None
    unless: re.Pattern[str] | None
    not_before: re.Pattern[str] | None
    not_after: re.Pattern[str] | None

    @classmethod
    def of(cls, pattern: Pattern) -> _Rule:
        def compiled(regex: str | None, of: Pattern | None = None) -> re.Pattern[str] | None:
            flags = re.IGNORECASE if of and of.ignore_case and not of.value else re.NOFLAG
            return None if regex is None else re.compile(regex, flags)

        return cls(
            pattern=pattern,
            check=None if pattern.validator is None else validator(pattern.validator),
            extend=compiled(pattern.extend),
            value=compiled(pattern.value or (rf"(?P<value>{pattern.regex})$" if pattern.words else None), pattern),
            alone=compiled(pattern.regex, pattern) if pattern.alone else None,
            unless=compiled(pattern.unless),
            not_before=compiled(pattern.not_before and rf"(?:{pattern.not_before})\Z"),
            not_after=compiled(pattern.not_after or (r"\w" if pattern.words else None)),
        )

    @property
    def expression(self) -> Expression:
        """What the engine looks for: the value, after its words when it has any."""
        regex = self.pattern.regex
        if self.pattern.words:
            starts = [rf"\b{word}" if word[0].isascii() and word[0].isalnum() else word for word in self.pattern.words]
            regex = rf"(?:{'|'.join(starts)})(?:[^\d\n]{{0,{self.pattern.gap}}}[^\w\n]|\n{{1,2}})(?:{regex})"
        return Expression(regex, self.pattern.ignore_case, spans=True)

    def extended(self, text: str, end: int) -> int:
        """Return where a match of the regex ends with its tail."""
        if self.extend and (tail := self.extend.match(text, end, min(len(text), end + _MAX_TAIL_CHARACTERS))):
            return tail.end()
        return end

    def cost(self, start: int, end: int) -> int:
        """Return what it takes to find the span within a match and its tail, in units of validation."""
        return (1 if self.value is None else _SEARCH) + (end - start) // _LONG + self.pattern.back // _BACK

    def span(self, text: str, start: int, end: int) -> tuple[int, int] | None:
        """Return the span of the finding within a match and its tail, or ``None`` if it is not one after all."""
        matched = start
        if self.value:
            inner = self.value.search(text, max(0, start - self.pattern.back), end)
            if inner is None:
                return None
            start, end = inner.span("value")
        if self.unless and self.unless.search(text, max(0, matched - _LOOK_BACK), start):
            return None
        if end - start < self.pattern.min_length:
            return None
        if self.not_before and self.not_before.search(text[max(0, start - _LOOK_BACK) : start]):
            return None
        if self.not_after and self.not_after.match(text, end):
            return None
        return start, end


class PatternDetector:
    """The pattern rules, compiled. Safe to share between threads."""

    def __init__(self, patterns: Iterable[Pattern], grave: Callable[[Finding], tuple[int, ...]] | None = None) -> None:
        self.severity: Final = grave or severity
        self._rules = [_Rule.of(pattern) for pattern in patterns]
        self._scanned = [rule for rule in self._rules if rule.pattern.words or not rule.pattern.alone]
        self._scanner = Scanner([rule.expression for rule in self._scanned])
        self._alone = [rule for rule in self._rules if rule.alone]

    def find(self, text: str, data: bytes) -> tuple[list[Finding], bool]:
        """Return the findings in ``text``, at most :data:`MAX_FINDINGS`, and whether there may be more.

        ``data`` is the text in UTF-8, one character for every code point.
        """
        matches, truncated = self._scanner.scan(data, MAX_MATCHES)
        found = self._lone(text)
        if not matches:
            return self._listed(found), truncated
        candidates = _by_start(matches if len(data) == len(text) else _in_code_points(matches, data))
        verdicts: dict[tuple[int, str], bool] = {}
        validation = MAX_VALIDATION
        done: dict[int, int] = {}
        full: Counter[str] = Counter()
        for (index, start), ends in candidates.items():
            rule = self._scanned[index]
            if start < done.get(index, 0):
                continue  # inside what this rule has found already
            if full[rule.pattern.type] >= MAX_FINDINGS:
                truncated = True
                continue
            for matched in _longest_first(ends, start + rule.pattern.max_length):
                end = rule.extended(text, matched)
                span = rule.span(text, start, end)
                validation -= rule.cost(start, end)
                if span is not None and rule.check:
                    value = text[span[0] : span[1]]
                    verdict = verdicts.get((index, value))
                    if verdict is None:
                        validation -= rule.pattern.cost + len(value) // _LONG
                        verdict = verdicts[index, value] = rule.check(value)
                    if not verdict:
                        span = None
                if validation < 0:
                    return self._listed(found), True
                if span is not None:
                    done[index] = span[1]
                    full[rule.pattern.type] += 1
                    found.append(Finding(rule.pattern.type, *span, rule.pattern.confidence, rule.pattern.id))
                    break
        return self._listed(found), truncated or len(found) > MAX_FINDINGS

    def _listed(self, found: list[Finding]) -> list[Finding]:
        if len(found) < 2:
            return found
        return capped(without_overlaps(found, self.severity), MAX_FINDINGS)

    def _lone(self, text: str) -> list[Finding]:
        """Return the surest reading of a text that is nothing but one value, if it is."""
        if len(text) > _MAX_LONE_CHARACTERS:
            return []
        value = text.strip(_AROUND_LONE)
        start = text.find(value)
        readings = [
            Finding(rule.pattern.type, start, start + len(value), _ALONE * rule.pattern.confidence, rule.pattern.id)
            for rule in self._alone
            if rule.alone and rule.alone.fullmatch(value) and not (rule.check and not rule.check(value))
        ]
        return sorted(readings, key=lambda found: -found.confidence)[:1]


@cache
def pattern_detector() -> PatternDetector:
    """Return the detector over all pattern files, compiled at first use."""
    return PatternDetector(pattern for file in pattern_files() for pattern in file.patterns)


def _by_start(matches: Iterable[tuple[int, int, int]]) -> dict[tuple[int, int], list[int]]:
    ends: dict[tuple[int, int], list[int]] = {}
    for index, start, end in matches:
        ends.setdefault((index, start), []).append(end)
    return ends


def _longest_first(ends: list[int], furthest: int) -> Iterator[int]:
    tried = 0
    for end in reversed(ends):
        if end <= furthest:
            yield end
            tried += 1
            if tried == _MAX_ENDS:
                return


def _in_code_points(matches: list[tuple[int, int, int]], data: bytes) -> list[tuple[int, int, int]]:
    """Turn byte offsets into code points in one pass over the text, whatever the number of matches."""
    position: dict[int, int] = {}
    done = characters = 0
    for offset in sorted({offset for _, *span in matches for offset in span}):
        at = offset
        # The engine works on bytes: a match may end inside a character, which then does not belong to it.
        while at < len(data) and data[at] & 0xC0 == 0x80:
            at -= 1
        characters += len(data[done:at].decode())
        done = at
        position[offset] = characters
    return [(index, position[start], position[end]) for index, start, end in matches]


def severity(finding: Finding, own: Mapping[str, str] = NO_CLASSES) -> tuple[int, ...]:
    """Return how grave a finding is, compared with others over the same text: its class, then its group."""
    return class_rank(finding.type, own), _GROUP_RANK[type_groups().get(finding.type, "personal")]
