"""A text without what was found in it, and the way back.

Every value gets a placeholder such as ``[EMAIL_1]``, the same value the same one, so that a model can still tell who is
who. :func:`restore` puts the values back, also into a text that somebody else wrote with the placeholders in it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import orjson

from services.detect.analysis import analyse
from services.detect.findings import Finding
from services.detect.rules import type_groups

PLACEHOLDER: Final = re.compile(r"\[[A-Z_]+_[1-9][0-9]*\]")
"""What a placeholder looks like."""
# Taking something out may bring together what stood apart; a text that is not clean after so many rounds is left out.
_MOST_ROUNDS: Final = 4
_WHOLE: Final = "TEXT"


class Redaction(NamedTuple):
    """``text`` is what may be shown; ``placeholders`` says what each placeholder in it stands for."""

    text: str
    placeholders: dict[str, str]


def redact(text: str, findings: Iterable[Finding], taken: Collection[str] = ()) -> Redaction:
    """Replace what ``findings``, which must not overlap, point at; ``taken`` placeholders mean something else."""
    used = {*taken, *PLACEHOLDER.findall(text)}
    numbers: Counter[str] = Counter()
    names: dict[tuple[str, str], str] = {}
    parts: list[str] = []
    done = 0
    for found in sorted(findings, key=lambda finding: finding.start):
        value = text[found.start : found.end]
        name = names.get((found.type, value))
        if name is None:
            name = names[found.type, value] = _next(found.type.upper(), numbers, used)
        parts += (text[done : found.start], name)
        done = found.end
    parts.append(text[done:])
    return Redaction("".join(parts), {name: value for (_, value), name in names.items()})


def redacted(text: str, keep: Collection[str] = ()) -> Redaction:
    """Find and replace until nothing is found any more, the types in ``keep`` excepted.

    A text that could not be looked at completely, or does not come clean, is replaced as a whole.
    """
    groups = type_groups()
    current, placeholders = text, dict[str, str]()
    for _ in range(_MOST_ROUNDS):
        analysis = analyse(current)
        if analysis.truncated:
            break
        findings = [
            found for found in analysis.findings if found.type not in keep and groups.get(found.type) != "document"
        ]
        wider = with_whole_placeholders(current, findings, placeholders)
        if not wider:
            return Redaction(current, placeholders)
        current, more = redact(current, wider, placeholders)
        # A value found in a later round may hold placeholders of an earlier one.
        placeholders |= {name: restore(value, placeholders) for name, value in more.items()}
    name = _next(_WHOLE, Counter(), set(PLACEHOLDER.findall(text)))
    return Redaction(name, {name: text})


def restore(text: str, placeholders: Mapping[str, str]) -> str:
    """Put back what the placeholders in ``text`` stand for; those it does not know stay."""
    return PLACEHOLDER.sub(lambda found: placeholders.get(found.group(), found.group()), text)


def restore_in_json(text: str, placeholders: Mapping[str, str]) -> str:
    """Put values back into a text that is JSON, where placeholders stand in strings: it is JSON afterwards."""
    escaped = {name: orjson.dumps(value).decode()[1:-1] for name, value in placeholders.items()}
    return restore(text, escaped)


def _next(kind: str, numbers: Counter[str], used: set[str]) -> str:
    while True:
        numbers[kind] += 1
        name = f"[{kind}_{numbers[kind]}]"
        if name not in used:
            used.add(name)
            return name


def with_whole_placeholders(text: str, findings: Iterable[Finding], own: Collection[str]) -> list[Finding]:
    """Return findings that cut no placeholder in two; those within one are left out, those that meet are one."""
    places = [place.span() for place in PLACEHOLDER.finditer(text) if place.group() in own]
    starts = [start for start, _ in places]
    wider: list[Finding] = []
    for found in findings:
        start, end = found.start, found.end
        at = bisect_right(starts, start) - 1
        if at >= 0 and start < places[at][1]:
            if end <= places[at][1]:
                continue
            start = places[at][0]
        at = bisect_right(starts, end - 1) - 1
        if at >= 0 and end < places[at][1]:
            end = places[at][1]
        if wider and start < wider[-1].end:
            end = max(end, wider[-1].end)
            wider[-1] = replace(wider[-1], end=end)
        else:
            wider.append(replace(found, start=start, end=end))
    return wider
