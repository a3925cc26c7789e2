"""Places by name: countries, American states and the larger cities of the world."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from services.detect.findings import Finding
from services.detect.rules import names, person_words

TYPE: Final = "location"
REGION: Final = "region"
_MOST_WORDS: Final = 3
# Runs of capitalised words that are looked at, as for names of persons.
MAX_RUNS: Final = 30_000
_WORDS: Final = re.compile(r"[A-ZÀ-ÖØ-Þ][^\W\d_]+(?:[ -](?:[a-z]{2,3} )?[A-ZÀ-ÖØ-Þ][^\W\d_]+){0,3}")
# Behind a place, these say that a thing is named after it.
_NAMED_AFTER: Final = re.compile(
    r"['’]?s? (?:criteria|score|scale|classification|protocol|study|trial|guidelines?|consensus|fever|virus|flu|"
    r"syndrome|disease|staging|convention|agreement|treaty|declaration|Coma|Heart|accord)"
)
_STATE: Final = re.compile(
    r",? (?:A[KLRZ]|C[AOT]|DE|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|"
    r"PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])\b"
)


@cache
def places() -> frozenset[str]:
    """Return the known places, as they are written."""
    return frozenset(name.replace("_", " ") for name in names().places.split())


@cache
def _first_words() -> frozenset[str]:
    return frozenset(name.partition(" ")[0] for name in places())


@cache
def _regions() -> frozenset[str]:
    return frozenset(name.replace("_", " ") for name in names().regions.split())


def located(text: str, limit: int) -> tuple[list[Finding], bool]:
    """Return the places in ``text``, about ``limit`` at most, and whether there may be more.

    Each has its American state with it when that follows.
    """
    known, first_words, regions = places(), _first_words(), _regions()
    parts: dict[str, list[tuple[int, int]]] = {}
    found: list[Finding] = []
    for number, run in enumerate(_WORDS.finditer(text)):
        if len(found) >= limit or number >= MAX_RUNS:
            return found, True
        value = run.group()
        if value not in parts:
            parts[value] = [] if first_words.isdisjoint(value.split(" ")) else list(_parts(value, known))
        for start, end in parts[value]:
            begins, ends = run.start() + start, run.start() + end
            if begins and (text[begins - 1].isalnum() or text[begins - 1] in "@/_#."):
                continue
            if _NAMED_AFTER.match(text, ends):
                continue
            state = _STATE.match(text, ends)
            if value[start:end] in regions:
                found.append(Finding(REGION, begins, ends, 0.7, "region"))
            else:
                found.append(Finding(TYPE, begins, state.end() if state else ends, 0.75 if state else 0.6, "place"))
    return found, False


def _parts(value: str, known: frozenset[str]) -> Iterator[tuple[int, int]]:
    if " " not in value:
        if value in known and value not in person_words().eponyms:
            yield 0, len(value)
        return
    words = [(word.start(), word.end()) for word in re.finditer(r"\S+", value)]
    index = 0
    while index < len(words):
        for length in range(min(_MOST_WORDS, len(words) - index), 0, -1):
            start, end = words[index][0], words[index + length - 1][1]
            if value[start:end] in known and value[start:end] not in person_words().eponyms:
                yield start, end
                index += length
                break
        else:
            index += 1
