"""Places by name: countries, American states and the larger cities of the world."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from services.detect.findings import Finding
from services.detect.rules import names

TYPE: Final = "location"
REGION: Final = "region"
_MOST_WORDS: Final = 3
# Names that diseases, scores and laws are called after, or that are no longer anybody's.
EPONYMS: Final = frozenset(
    "Alzheimer Parkinson Hodgkin Crohn Graves Hashimoto Cushing Addison Barrett Down Turner Marfan Raynaud Sjogren Sjögren Bell "
    "Huntington Kawasaki Wilson Lyme Tourette Guillain Barre Barré Apgar Glasgow Ludwig Framingham Whipple Wernicke Paget Meniere Ehlers "
    "Danlos Peyronie Asperger Epstein Foley Doppler Holter Babinski Romberg Murphy Wells Ranson Gleason Breslow Charcot Korsakoff "
    "Kaposi Wegener Takayasu Still Dupuytren Achilles Cesarean Bayes Gauss Euler Newton Fourier Laplace Markov Poisson Nobel Pulitzer "
    "Markdown Python Java Ruby Celsius Fahrenheit Kelvin Lantus Ebola Zika Covid Christ Jesus Allah Buddha Bible Quran Koran Satan "
    "Santa Halloween Hanukkah Victoria Lasso Monte Carlo Turing".split()
)
_WORDS: Final = re.compile(r"[A-ZÀ-ÖØ-Þ][^\W\d_]+(?:[ -](?:[a-z]{2,3} )?[A-ZÀ-ÖØ-Þ][^\W\d_]+){0,3}")
# Behind a place, these say that a thing is named after it.
_NAMED_AFTER: Final = re.compile(
    r"['’]?s? (?:criteria|score|scale|classification|protocol|study|trial|guidelines?|consensus|fever|virus|flu|syndrome|"
    r"disease|staging|convention|agreement|treaty|declaration|Coma|Heart|accord)"
)
_STATE: Final = re.compile(
    r",? (?:A[KLRZ]|C[AOT]|DE|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])\b"
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


def located(text: str, limit: int) -> Iterator[Finding]:
    """Yield the places in ``text``, at most ``limit``; each with its American state when that follows."""
    known, first_words = places(), _first_words()
    found = 0
    for run in _WORDS.finditer(text):
        value = run.group()
        if first_words.isdisjoint(value.split(" ")):
            continue
        for start, end in _parts(value, known):
            begins, ends = run.start() + start, run.start() + end
            if begins and (text[begins - 1].isalnum() or text[begins - 1] in "@/_#."):
                continue
            if _NAMED_AFTER.match(text, ends):
                continue
            state = _STATE.match(text, ends)
            found += 1
            if value[start:end] in _regions():
                yield Finding(REGION, begins, ends, 0.7, "region")
            else:
                yield Finding(TYPE, begins, state.end() if state else ends, 0.75 if state else 0.6, "place")
        if found >= limit:
            return


def _parts(value: str, known: frozenset[str]) -> Iterator[tuple[int, int]]:
    if " " not in value:
        if value in known and value not in EPONYMS:
            yield 0, len(value)
        return
    words = [(word.start(), word.end()) for word in re.finditer(r"\S+", value)]
    index = 0
    while index < len(words):
        for length in range(min(_MOST_WORDS, len(words) - index), 0, -1):
            start, end = words[index][0], words[index + length - 1][1]
            if value[start:end] in known and value[start:end] not in EPONYMS:
                yield start, end
                index += length
                break
        else:
            index += 1
