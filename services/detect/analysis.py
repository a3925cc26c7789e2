"""All detectors over one text, each failing closed on its own."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Final, TypeVar

from services.detect.findings import Analysis, Finding, capped, without_overlaps
from services.detect.injection import Suspicion, injection
from services.detect.language import UNDETERMINED, language
from services.detect.lexicon import LEXICONS, high_stakes_domains, scorer, task_family
from services.detect.own_rules import OwnRules
from services.detect.patterns import MAX_FINDINGS, pattern_detector, severity
from services.detect.people import TYPE as PERSON
from services.detect.people import people
from services.detect.places import located
from services.detect.rules import type_groups
from services.detect.tokens import count_tokens

# More than any model reads: what lies beyond is not looked at, and the analysis says so. Together with the other limits
# (``MAX_MATCHES``, ``MAX_VALIDATION``, ``MAX_RUNS``, ``MAX_DISGUISED``, ``MAX_FINDINGS``) this is what an analysis may
# cost. All of them count work, never time, so that a text has the same findings everywhere.
MAX_CHARACTERS: Final = 8_000_000

# Has a number of every kind whose validator loads tables of its own.
_WARMING_TEXT: Final = "Call +44 20 7946 0018 or 020 7946 0018, send to GB29 NWBK 6016 1331 9268 19."

# A diagnosis counts this near to somebody: to a name, or to a number of a person's.
_DIAGNOSIS: Final = "diagnosis"
_NEAR: Final = 300
_IDENTIFYING: Final = frozenset({"personal", "health"})

# What is assumed of a text whose domain, or whose speaking to the model, could not be told.
HIGH_STAKES: Final[tuple[str, ...]] = ("finance", "legal", "medical")
WORST: Final = Suspicion(1.0, True, (), truncated=True)

_Part = TypeVar("_Part")


class Attempts:
    """Detectors attempted over one text; ``failed`` names each that raised and the kind of its error."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def __call__(self, detector: str, detect: Callable[[], _Part], otherwise: _Part) -> _Part:
        """Return what a detector says, or the most careful answer where it raises."""
        try:
            return detect()
        except Exception as error:  # whatever it is, the text must count as not looked at; its message may quote it
            self.failed.append(f"{detector}:{type(error).__name__}")
            return otherwise


def analyse(text: str, own: OwnRules | None = None) -> Analysis:
    """Find out what is in ``text``. Never raises: a detector that does leaves its most careful answer and its name.

    Takes time linear in the text, with the interpreter lock held for a few milliseconds at a time.

    ``own`` rules are looked for beside those of the product.
    """
    attempt = Attempts()
    looked_at, data = _utf8(text[:MAX_CHARACTERS])
    nothing: tuple[list[Finding], bool] = ([], True)
    findings, more = attempt("findings", lambda: _findings(looked_at, data, own), nothing)
    task, task_confidence = attempt("tasks", lambda: task_family(data), ("chat", 0.0))
    suspicion = attempt("injection", lambda: injection(looked_at, data), WORST)
    domains = attempt("domains", lambda: high_stakes_domains(data), HIGH_STAKES)
    written_in = attempt("language", lambda: language(looked_at), UNDETERMINED)
    # No character is longer than four bytes, no token shorter than one.
    beyond = 4 * max(0, len(text) - MAX_CHARACTERS)
    tokens = attempt("tokens", lambda: count_tokens(looked_at) + beyond, 4 * len(text))
    return Analysis(
        findings=tuple(findings),
        truncated=more or suspicion.truncated or len(text) > MAX_CHARACTERS or bool(attempt.failed),
        language=written_in,
        task=task,
        task_confidence=task_confidence,
        domains=domains,
        injection_score=suspicion.score,
        injection_suspected=suspicion.suspected,
        injection_signals=suspicion.signals,
        tokens=tokens,
        characters=len(text),
        detectors_failed=tuple(attempt.failed),
    )


def find(text: str, own: OwnRules | None = None) -> tuple[tuple[Finding, ...], bool]:
    """Return only what :func:`analyse` finds, and whether there may be more. Never raises either."""
    try:
        found, truncated = _findings(*_utf8(text[:MAX_CHARACTERS]), own)
    except Exception:  # as in analyse: the text counts as not looked at
        return (), True
    return tuple(found), truncated or len(text) > MAX_CHARACTERS


def _findings(text: str, data: bytes, own: OwnRules | None) -> tuple[list[Finding], bool]:
    """Return what all detectors found, at most :data:`MAX_FINDINGS` without overlaps, and whether there may be more."""
    searches = [pattern_detector().find(text, data), people(text, MAX_FINDINGS), located(text, MAX_FINDINGS)]
    if own:
        searches.append(own.detector.find(text, data))
    everything = [found for findings, _ in searches for found in findings]
    # Counted before overlaps are resolved: a text with more in it never has fewer of these.
    truncated = any(cut for _, cut in searches) or len(everything) > MAX_FINDINGS
    grave = own.detector.severity if own else severity
    found = _next_to_somebody(without_overlaps(everything, grave))
    return capped(found, MAX_FINDINGS), truncated


def _next_to_somebody(findings: list[Finding]) -> list[Finding]:
    """Leave out what somebody suffers from where nobody is near."""
    people_at = [
        found.start
        for found in findings
        if found.type == PERSON or (type_groups().get(found.type) in _IDENTIFYING and found.type != _DIAGNOSIS)
    ]

    def near(found: Finding) -> bool:
        at = bisect_left(people_at, found.start - _NEAR)
        return at < len(people_at) and people_at[at] <= found.end + _NEAR

    return [found for found in findings if found.type != _DIAGNOSIS or near(found)]


def warm() -> None:
    """Load databases, models and tables, so that the first text is as fast as the next. Takes about a second.

    Raises ``ValueError`` for rules that do not load: a deployment with broken rules does not start.
    """
    pattern_detector()
    for name in LEXICONS:
        scorer(name)
    analyse(_WARMING_TEXT)


def _utf8(text: str) -> tuple[str, bytes]:
    """Return the text and its UTF-8, lone surrogates replaced one for one so that positions stay what they are."""
    try:
        return text, text.encode()
    except UnicodeEncodeError:
        data = text.encode(errors="replace")
        return data.decode(), data
