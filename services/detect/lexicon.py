"""Weighted lexicons: the task family and the high-stakes domains.

A term counts once however often it stands in the text, so a scan reports at most as many matches as there are terms.
Tasks are read at the edges of a text, where people put instructions; domains near both ends.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

from services.detect.engine import Expression, Scanner
from services.detect.rules import lexicon

LEXICONS: Final = ("tasks", "domains", "injection")

_TASK_EDGE: Final = 600
_DOMAIN_EDGE: Final = 3_000

# The label of a lexicon that speaks against all others, and how loudly; how near to the strongest a second domain is.
_OTHER: Final = "other"
_AGAINST: Final = 0.5
_BESIDE: Final = 0.6

# A text without any cue: a question is one, anything else is talk.
_QUESTION: Final = "qa"
_TALK: Final = "chat"


class LexiconScorer:
    """A lexicon, compiled. Safe to share between threads."""

    def __init__(self, name: str) -> None:
        loaded = lexicon(name)
        self.threshold = loaded.threshold
        self.labels = tuple(loaded.labels)
        self._terms = [
            (label, weight, term)
            for label, by_weight in loaded.labels.items()
            for weight, terms in by_weight.items()
            for term in terms
        ]
        self._scanner = Scanner(
            [Expression(_whole_word(term), ignore_case=True, spans=False) for _, _, term in self._terms]
        )

    def terms(self, data: bytes) -> set[int]:
        """Return which terms occur in UTF-8 text."""
        matches, _ = self._scanner.scan(b"\n" + data + b"\n", len(self._terms) + 1)
        return {index for index, _, _ in matches}

    def sums(self, terms: set[int]) -> dict[str, float]:
        """Return the summed weights of terms, for the labels that have any."""
        totals: dict[str, float] = {}
        for index in sorted(terms):
            label, weight, _ = self._terms[index]
            totals[label] = totals.get(label, 0.0) + weight
        return totals

    def scores(self, data: bytes) -> dict[str, float]:
        """Return the summed weights of the terms that occur in UTF-8 text, for the labels that have any."""
        return self.sums(self.terms(data))


@cache
def scorer(name: str) -> LexiconScorer:
    """Return the scorer of ``lexicon_<name>.yaml``, compiled at first use."""
    return LexiconScorer(name)


def task_family(data: bytes) -> tuple[str, float]:
    """Return the task family that UTF-8 text asks for, and a confidence in [0, 1]."""
    edges = _edges(data, _TASK_EDGE)
    scores = scorer("tasks").scores(edges)
    if not scores:
        return (_QUESTION, 0.4) if b"?" in edges else (_TALK, 0.2)
    first, *rest = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    runner_up = rest[0][1] if rest else 0.0
    return first[0], round(first[1] / (first[1] + runner_up + 1.0), 3)


def high_stakes_domains(data: bytes) -> tuple[str, ...]:
    """Return the high-stakes domains that UTF-8 text belongs to, the likeliest first.

    Longer texts need more evidence, and so do texts that also speak of something else.
    """
    window = _edges(data, _DOMAIN_EDGE)
    domains = scorer("domains")
    scores = domains.scores(window)
    against = _AGAINST * scores.pop(_OTHER, 0.0)
    threshold = domains.threshold * (1.0 + 0.5 * max(0.0, math.log2(len(window) / 400 + 1e-9)))
    strongest = max(scores.values(), default=0.0)
    likely = [
        (-score, label)
        for label, score in scores.items()
        if score - against >= threshold and score >= _BESIDE * strongest
    ]
    return tuple(label for _, label in sorted(likely))


def _edges(data: bytes, size: int) -> bytes:
    return data if len(data) <= 2 * size else data[:size] + b"\n" + data[-size:]


def _whole_word(term: str) -> str:
    """Return a regex for a term between two characters of no word; ``\\b`` takes thrice as long to compile."""
    if term[0] == "^":
        return rf"^\W{{1,3}}(?:{term[1:]})\W"
    before = r"\W" if (term[0].isalnum() and term[0].isascii()) or term[0] in "([" else ""
    after = r"\W" if (term[-1].isalnum() and term[-1].isascii()) or term[-1] in ")]?+*" else ""
    return f"{before}(?:{term}){after}"
