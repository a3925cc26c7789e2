"""Names of persons, by lists of names and by how names are written; no model.

A run of capitalised words is a name when a given name stands in it beside another name, an initial or a word that is in
no list; behind a title or words like "my name is"; or when it is a single name that is no other word. Words that make a
company, a street or a disease of a name ("Hospital", "Street", "syndrome") unmake it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Final

from services.detect.findings import Finding
from services.detect.places import places
from services.detect.rules import names, person_words

TYPE: Final = "person"

_UPPER: Final = "".join(filter(str.isupper, map(chr, range(0x41, 0x530))))
_PART: Final = (
    rf"[{_UPPER}](?:\.|[^\W\d_]*+(?:['’-][^\W\d_]++)*+"
    r"(?:\.(?:(?<=Dr\.)|(?<=Mr\.)|(?<=Mrs\.)|(?<=Ms\.)|(?<=Prof\.)|(?<=Sr\.)|(?<=Jr\.)|(?<=Sra\.)|(?<=Mme\.)|(?<=Hr\.)"
    r"|(?<=Fr\.)|(?<=Rev\.)|(?<=St\.)|(?<=Mt\.)))?)"
)
_PARTICLES: Final = "van|von|de|der|den|del|della|di|da|das|dos|do|du|la|le|el|al|bin|ibn|bint|ben|ter|ten|zu|af|av"
_RUN: Final = re.compile(rf"{_PART}(?: {{1,2}}(?:(?:{_PARTICLES}) ){{0,3}}{_PART}){{0,7}}")

# Behind a name, these say that a thing is named after somebody.
_NAMED_AFTER: Final = re.compile(
    r"(?:['’]s?)? (?:disease|syndrome|score|scale|criteria|test|sign|index|method|theorem|law|effect|equation|lymphoma|"
    r"esophagus|oesophagus|classification|stage|staging|palsy|ulcers?|reflex|thyroiditis|contracture|catheter|curve|risk|"
    r"distribution|algorithm|model|function|transform|series|constant|number|process|award|prize|virus|cells?|body|bodies|"
    r"fracture|angle|formula|equation|encephalopathy|granulomatosis|arteritis|nodules?|maneuver|manoeuvre|study|trial)\b"
)
_SAYS_WHO: Final = (
    "name is",
    "name's",
    "i am",
    "i'm",
    "i’m",
    "nombre es",
    "nome è",
    "nome é",
    "nom est",
    "name ist",
    "naam is",
)
_MOST_WORDS: Final = 5
# Runs of capitalised words that are looked at; a text with as many has more names and places than are kept.
MAX_RUNS: Final = 30_000


@cache
def _lists() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    loaded = names()
    words = frozenset(loaded.words.split())
    given, family = _and_unaccented(loaded.given.split()), _and_unaccented(loaded.family.split())
    return given, family, words


def _and_unaccented(listed: list[str]) -> frozenset[str]:
    """Return names, also without the accents that people leave out."""
    accented = [name for name in listed if not name.isascii()]
    bare = ("".join(filter(str.isascii, unicodedata.normalize("NFKD", name))) for name in accented)
    return frozenset(listed).union(name for name in bare if len(name) > 3)


def people(text: str, limit: int) -> tuple[list[Finding], bool]:
    """Return the names of persons in ``text``, about ``limit`` at most, and whether there may be more."""
    given, family, words = _lists()
    nameless: set[str] = set()
    found: list[Finding] = []
    for number, run in enumerate(_RUN.finditer(text)):
        if len(found) >= limit or number >= MAX_RUNS:
            return found, True
        start = run.start()
        if start and (text[start - 1].isalnum() or text[start - 1] in "@/_#.$"):
            continue
        value = run.group()
        if " " not in value:
            name = value if value[-1:] not in ".s" else _bare(value)
            if name in person_words().plain or name in person_words().eponyms:
                continue
            single = _single(text, start, name, given, family, words)
            if single:
                found.append(Finding(TYPE, start, start + len(name), single, "person_single"))
        else:
            for begins, ends, confidence in _names(text, start, value, nameless):
                detector = "person_full" if confidence > 0.6 else "person_single"
                found.append(Finding(TYPE, begins, ends, confidence, detector))
    return found, False


def _bare(word: str) -> str:
    """Return a word without its possessive ending or full stop."""
    if word.endswith(("'s", "’s")):
        return word[:-2]
    return word.rstrip(".'’")


def _single(
    text: str, start: int, name: str, given: frozenset[str], family: frozenset[str], words: frozenset[str]
) -> float:
    """Return how sure a lone capitalised word is a person's name, 0 when it is none."""
    if len(name) < 3 or (name not in given and name not in family):
        return 0.0
    if _introduced(text, start) and not name.isupper():
        return 0.8
    if name in words or name in places() or _NAMED_AFTER.match(text, start + len(name)):
        return 0.0
    return 0.6 if name in given else 0.45


def _introduced(text: str, start: int) -> bool:
    """Tell whether the word before says that a name follows."""
    before = text[max(0, start - 20) : start].rstrip(" :,\n").lower()
    return before.rpartition(" ")[2].rpartition("\n")[2] in person_words().cues or before.endswith(_SAYS_WHO)


def _names(text: str, start: int, run: str, nameless: set[str]) -> Iterator[tuple[int, int, float]]:
    """Yield ``(start, end, confidence)`` of the names in a run of capitalised words.

    ``nameless`` are runs known to have none unless they are introduced; this one joins them when it has none either.
    """
    parts: list[tuple[int, str]] = []
    at = start
    lists = given, family, _ = _lists()
    introduced = " " in run and _introduced(text, start)
    if not introduced and (run in nameless or not _any_known(run, given, family)):
        nameless.add(run)
        return
    any_taken = False
    for part in run.split(" "):
        if part:
            parts.append((at, part))
        at += len(part) + 1
    index = 0
    while index < len(parts):
        part = parts[index][1]
        title = part.rstrip(".") in person_words().titles and index + 1 < len(parts)
        first = index + 1 if title else index
        taken = _take(parts, first, sure=title or (introduced and index == 0), lists=lists)
        if taken:
            any_taken = True
            last_at, last = parts[taken - 1]
            ends = last_at + len(last if _is_initial(last) else _bare(last))
            begins = parts[first][0]
            organisation = taken < len(parts) and parts[taken][1].rstrip(".") in person_words().organisation
            if not organisation and not _NAMED_AFTER.match(text, ends):
                single = taken - first == 1 and not title
                yield begins, ends, 0.5 if single else 0.85
            index = taken
        else:
            index += 1
    if not any_taken and not introduced:
        nameless.add(run)


def _take(
    parts: list[tuple[int, str]],
    first: int,
    *,
    sure: bool,
    lists: tuple[frozenset[str], frozenset[str], frozenset[str]],
) -> int:
    """Return the index behind the name that begins at ``first``, or 0 for none; ``sure``: the words before say so."""
    given, family, words = lists
    known = person_words()
    head = _cased(parts[first][1])
    second = _cased(parts[first + 1][1]) if first + 1 < len(parts) else ""
    if _is_initial(head):
        if second not in family:
            return 0
    elif head in known.plain or head in known.organisation or head in known.eponyms:
        return 0
    behind = first + 1
    surnames = 0
    while behind < len(parts) and behind - first < _MOST_WORDS:
        word = parts[behind][1]
        if word[0].islower():  # a particle belongs to the word after it
            behind += 1
            continue
        cased = _cased(word)
        if _is_initial(word):
            surnames += 1
        elif (
            cased in known.plain
            or cased in known.organisation
            or word.rstrip(".") in known.titles
            or (cased in places() and cased not in family)
            or len(cased) == 1
            or (word.isupper() and not parts[first][1].isupper())
        ):
            break
        else:
            surnames += 1
        behind += 1
        if word.endswith(("'s", "’s")):
            break
    while behind > first + 1 and parts[behind - 1][1][0].islower():
        behind -= 1
    if sure or (len(parts) > first + 1 and f"{head} {_cased(parts[first + 1][1])}" in places()):
        return behind if sure else 0
    if head in given and (surnames or (head not in words and head not in places())):
        return behind if surnames else first + 1
    if head in places():
        return 0
    if surnames and head in family and head not in words:
        second = _cased(parts[first + 1][1])
        return behind if second in family or second in given or _is_initial(parts[first + 1][1]) else 0
    if _is_initial(head) and surnames:
        return behind
    if (
        surnames
        and head not in words
        and _cased(parts[first + 1][1]) in family
        and _cased(parts[first + 1][1]) not in words
    ):
        return behind
    return first + 1 if head in family and head not in words and len(parts) == 1 else 0


def _any_known(run: str, given: frozenset[str], family: frozenset[str]) -> bool:
    """Tell whether a run has a title or a listed name in it; most have none."""
    words = run.replace("'s", "").replace("’s", "").replace(".", "").split(" ")
    if run.isupper():
        words = [word.capitalize() for word in words]
    return not (given.isdisjoint(words) and family.isdisjoint(words) and person_words().titles.isdisjoint(words))


def _cased(word: str) -> str:
    word = _bare(word)
    return word.capitalize() if len(word) > 2 and word.isupper() else word


def _is_initial(word: str) -> bool:
    return len(word.rstrip(".")) == 1 and word[0].isupper() and word != "I" and word != "A"
