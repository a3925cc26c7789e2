"""What the detectors hand back, and how overlapping findings become one list."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One identifier or secret in a text: where it is, never what it says.

    ``start`` and ``end`` are code points of the text given, end exclusive. ``confidence`` is in (0, 1].
    ``detector`` is the id of the rule that found it.
    """

    type: str
    start: int
    end: int
    confidence: float
    detector: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything known about one text.

    ``findings`` do not overlap and are sorted by ``start``. ``truncated`` says that there may be more than is listed:
    findings were capped, part of the text was not looked at, or a detector failed. ``language`` is ISO 639-1, or
    ``und`` for code and for too little text. ``task_confidence`` and ``injection_score`` are in [0, 1].
    ``injection_signals`` names the kinds of signs behind the score. ``tokens`` counts ``o200k_base``.
    ``detectors_failed`` holds ``detector:ExceptionName`` for each that raised, its part of the analysis being the
    most careful answer instead.
    """

    findings: tuple[Finding, ...]
    truncated: bool
    language: str
    task: str
    task_confidence: float
    domains: tuple[str, ...]
    injection_score: float
    injection_suspected: bool
    tokens: int
    characters: int
    injection_signals: tuple[str, ...] = ()
    detectors_failed: tuple[str, ...] = ()


def without_overlaps(findings: Iterable[Finding], severity: Callable[[Finding], tuple[int, ...]]) -> list[Finding]:
    """Keep the gravest of findings that overlap, sorted by start.

    Between equally grave ones the surer wins, then the longer, then the earlier. The gravest finding of the input is
    always kept, so that resolving never lowers a text's data class.
    """
    ranked = sorted(
        findings,
        key=lambda found: (
            *(-part for part in severity(found)),
            -found.confidence,
            found.start - found.end,
            found.start,
            found.type,
            found.detector,
        ),
    )
    starts: list[int] = []
    kept: list[Finding] = []
    for found in ranked:
        at = bisect_left(starts, found.start)
        clear_of_next = at == len(kept) or found.end <= kept[at].start
        clear_of_previous = at == 0 or kept[at - 1].end <= found.start
        if clear_of_next and clear_of_previous:
            starts.insert(at, found.start)
            kept.insert(at, found)
    return kept


def capped(findings: list[Finding], limit: int) -> list[Finding]:
    """Return the first ``limit`` findings, at least one of each type among them, sorted by start."""
    if len(findings) <= limit:
        return findings
    first_of_type = {found.type: found for found in reversed(findings)}
    chosen = dict.fromkeys(sorted(first_of_type.values(), key=lambda found: found.start))
    for found in findings:
        if len(chosen) >= limit:
            break
        chosen[found] = None
    return sorted(list(chosen)[:limit], key=lambda found: found.start)
