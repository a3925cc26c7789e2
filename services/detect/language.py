"""The language a text is written in; code and too little text have none.

Two detectors, because each knows what the other does not: ``pycld2`` has 80 more languages, ``eldc`` is better on a
short sentence. Where they differ, letters that one of the two languages does not have decide.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import eldc
import pycld2

UNDETERMINED: Final = "und"

_LOOKED_AT: Final = 600
_LEAST_LETTERS: Final = 8

# Codes of ISO 639-1 before its revisions, macro-languages, and what stands for a script.
_CODES: Final = {"iw": "he", "in": "id", "ji": "yi", "jw": "jv", "mo": "ro", "no": "nb", "zh-Hant": "zh", "sh": "hr"}

# Letters that a language never writes: an answer is refused when the text has one of them.
_FOREIGN_LETTERS: Final = {
    "sr": re.compile("[щюяъьйыэїєѓќѕ]", re.IGNORECASE),
    "mk": re.compile("[щюяъьйыэћђ]", re.IGNORECASE),
    "bg": re.compile("[ыэјљњћђѓќѕџїєіў]", re.IGNORECASE),
    "ru": re.compile("[јљњћђѓќѕџїєіўәғқңөұүһ]", re.IGNORECASE),
    "uk": re.compile("[ыэъёјљњћђѓќѕџўәғқңөұүһ]", re.IGNORECASE),
    "cs": re.compile("[ľĺŕôä]", re.IGNORECASE),
    "sk": re.compile("[ěřů]", re.IGNORECASE),
    "da": re.compile("[äö]", re.IGNORECASE),
    "nb": re.compile("[äö]", re.IGNORECASE),
    "sv": re.compile("[æø]", re.IGNORECASE),
}
_BOSNIAN: Final = re.compile(
    r"\b(?:bosn\w+|bošnja\w+|histori\w+|opštin\w+|hljeb\w*|lahk\w+|mehk\w+|kah[vw]\w+|sahat\w*|sedmic\w+|saobraćaj\w*|"
    r"hemij\w+|januar\w*|februar\w*|septemb\w+|oktob\w+|novemb\w+|decemb\w+|kafa|evrop\w+)",
    re.IGNORECASE,
)
# Hardly a sentence in Cyrillic Serbian has none of these.
_SERBIAN_LETTERS: Final = re.compile("[јљњћђџ]", re.IGNORECASE)
_CYRILLIC: Final = re.compile("[\u0400-\u04ff]")

# What code is made of: statements by how a line begins, and what follows names. Prose has few of either.
_STATEMENT: Final = re.compile(
    r"^[ \t]*(?:>>> |def \w+\(|class \w+[:({ ]|import [\w.{*]|from [\w.]+ import |#include\b|#define\b|"
    r"package [\w.]+;?$|using [\w.]+;|func \w|fn \w|let \w+ ?=|const \w|var \w+ ?=|"
    r"(?:public|private|protected|static|final) \w|"
    r"return\b.*[;)\]\w]$|if ?\(.*\) ?\{?$|(?:el)?if .+:$|else ?[:{]$|for ?\(.*;|for \w+(?:, ?\w+)* in .+:$|"
    r"while ?\(.*\)|while .+:$|try ?[:{]$|except\b.*:$|with .+ as \w+:$|@\w+|raise \w+|print\(|console\.log|"
    r"(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|ALTER TABLE) .+|<\?php|</?\w+(?: [\w-]+=[^>]*)?>|"
    r"\$ ?\w+|[\w.\[\]]+ ?[-+*/]?= ?[^=\s].*|[\w.]+\(.*\);?$|[{}\])];?,?$|//|/\*|\*/|# ?\w+ ?=|-- ?\w)",
    re.MULTILINE,
)
_LINE: Final = re.compile(r"^.*\S.*$", re.MULTILINE)
_CODE_MARKS: Final = "{}()[];=<>_\\#&|*+`$/"
_CODE_SHARE: Final = 0.05
_STATEMENT_SHARE: Final = 0.5


@cache
def load() -> None:
    """Load the model into the process, once."""
    eldc.init()


def language(text: str) -> str:
    """Return the ISO 639-1 code of the language at the start of ``text``, or ``und``."""
    load()
    head = text[:_LOOKED_AT]
    if is_code(head):
        return UNDETERMINED
    sure, code = _wide(head)
    if sure and code != "sr" and not _foreign(code, head):
        return _bosnian_or_croatian(code, head)
    short = eldc.detect_details(head)
    guesses = [code, _CODES.get(short.language, short.language)]
    if not sure and short.reliable:
        guesses.reverse()
    if not (sure or short.reliable) and sum(map(str.isalpha, head)) < _LEAST_LETTERS:
        return UNDETERMINED
    guesses = [guess for guess in guesses if guess not in (UNDETERMINED, "un", "")]
    for guess in guesses:
        if not _foreign(guess, head):
            return _bosnian_or_croatian(_latin_serbian(guess, guesses, head), head)
    return guesses[0] if guesses else UNDETERMINED


def _foreign(code: str, head: str) -> bool:
    if code == "sr" and _CYRILLIC.search(head) and not _SERBIAN_LETTERS.search(head):
        return True
    letters = _FOREIGN_LETTERS.get(code)
    return letters is not None and letters.search(head) is not None


def is_code(head: str) -> bool:
    """Tell source code, markup and queries from prose: by their marks and by how their lines begin."""
    marks = sum(map(head.count, _CODE_MARKS))
    if marks < _CODE_SHARE / 2 * len(head):
        return False
    lines = len(_LINE.findall(head))
    statements = len(_STATEMENT.findall(head))
    if lines and statements >= max(1, _STATEMENT_SHARE * lines):
        return marks >= _CODE_SHARE / 2 * len(head)
    return marks >= _CODE_SHARE * len(head) and (marks > 3 * _CODE_SHARE * len(head) or statements >= 2)


def _wide(head: str) -> tuple[bool, str]:
    try:
        sure, _, details = pycld2.detect(head, isPlainText=True)
    except pycld2.error:  # characters that it takes for damaged
        return False, UNDETERMINED
    code = details[0][1]
    return sure and code != "un", _CODES.get(code, code)


def _bosnian_or_croatian(code: str, head: str) -> str:
    # Most sentences could be either; without a word that only Bosnian has, the one with more texts is the better guess.
    return "hr" if code == "bs" and not _BOSNIAN.search(head) else code


def _latin_serbian(guess: str, guesses: list[str], head: str) -> str:
    # In Latin letters Serbian is rare, and what looks like it is Croatian or Bosnian.
    if guess == "sr" and len(guesses) == 2 and not _CYRILLIC.search(head):
        return guesses[1]
    return guess
