"""The language a text is written in, by ``eldc``; code and too little text have none."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import eldc

UNDETERMINED: Final = "und"

_LOOKED_AT: Final = 600
_LEAST_LETTERS: Final = 8

# Prose of any language has about one of these in a hundred characters, code one in ten.
_CODE_CHARACTERS: Final = "{}()[];=<>_\\#&|*+`$/"
_CODE_SHARE: Final = 0.05
_CODE_LINE: Final = re.compile(
    r"^\s*(?:def |class \w+[:({]|import \w|from \w[\w.]* import |#include|package \w|func |fn |let |const |var |"
    r"public |private |static |return\b.*;|if ?\(|for ?\(|while ?\(|select .+ from |<\?php|</?\w+[ >])",
    re.MULTILINE | re.IGNORECASE,
)


@cache
def load() -> None:
    """Load the model into the process, once."""
    eldc.init()


def language(text: str) -> str:
    """Return the ISO 639-1 code of the language at the start of ``text``, or ``und``."""
    load()
    head = text[:_LOOKED_AT]
    if _is_code(head):
        return UNDETERMINED
    guess = eldc.detect_details(head)
    if guess.language == UNDETERMINED:
        return UNDETERMINED
    if not guess.reliable and sum(character.isalpha() for character in head) < _LEAST_LETTERS:
        return UNDETERMINED
    return str(guess.language)


def _is_code(head: str) -> bool:
    marks = sum(map(head.count, _CODE_CHARACTERS))
    if marks < _CODE_SHARE * len(head):
        return False
    return marks > 3 * _CODE_SHARE * len(head) or _CODE_LINE.search(head) is not None
