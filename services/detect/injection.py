"""How much a text speaks to the model instead of to its reader, and by which signs.

The lexicon is looked for in the text as it stands, in what it says once tricks of writing are undone (characters of no
width, letters that look like others), and in what its base64 says. More text never lowers the score: terms only add up.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from services.detect.lexicon import scorer

# Characters that show nothing: between letters they hide words from filters.
_ZERO_WIDTH: Final = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]")
_HIDDEN_IN_WORD: Final = re.compile("[A-Za-z][\u00ad\u200b\u200c\u2060\ufeff]+[A-Za-z]")
# Text in characters that no font shows (a flag of a region ends after seven), and what turns the direction of letters.
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]{8,}")
_REVERSED: Final = re.compile("[\u202d\u202e]")
# Letters of two alphabets in one word.
_MIXED: Final = re.compile("[A-Za-z][\u0370-\u04ff]|[\u0370-\u04ff][A-Za-z]")
_STYLED: Final = re.compile("[\uff21-\uff5a\U0001d400-\U0001d7ff\u24b6-\u24e9]")
_LOOKALIKES: Final = str.maketrans(
    "аеорсухіѕјһԁԛԝвкмнтАВЕКМНОРСТУХІЈЅοανρικτυΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxisjhdqwbkmhtABEKMHOPCTYXIJSoavpiktuABEZHIKMNOPTYX",
)
_SHORTEST_PAYLOAD: Final = 32
_BASE64: Final = re.compile(rf"[A-Za-z0-9+/]{{{_SHORTEST_PAYLOAD},4000}}={{0,2}}")
# Characters that are normalised, and characters of base64 that are decoded. What is more than that is looked at as it
# stands: a text with tricks there counts as suspected, and its analysis as incomplete.
MAX_DISGUISED: Final = 400_000
_LEGIBLE: Final = bytes(range(32, 127)) + b"\t\r\n"
_TRICK_WEIGHT: Final = 0.7
_HIDDEN_WEIGHT: Final = 1.5


@dataclass(frozen=True, slots=True)
class Suspicion:
    """``score`` is in [0, 1]; ``signals`` names the kinds of signs found, sorted.

    ``truncated``: there is more in disguise than was looked at, which is suspected for that alone.
    """

    score: float
    suspected: bool
    signals: tuple[str, ...]
    truncated: bool = False


def injection(text: str, data: bytes) -> Suspicion:
    """Return how much a text, also given in UTF-8, looks like an injection."""
    cues = scorer("injection")
    terms = cues.terms(data)
    tricks: dict[str, float] = {}
    plain = _undisguised(text[:MAX_DISGUISED], tricks)
    if plain is not None and (uncovered := cues.terms(plain.encode(errors="replace")) - terms):
        terms |= uncovered
        tricks["disguised_words"] = _TRICK_WEIGHT
    payloads, truncated = _payloads(text)
    if payloads and (decoded := cues.terms(payloads)):
        terms |= decoded
        tricks["encoded_payload"] = _TRICK_WEIGHT
    truncated = truncated or _in_disguise(text[MAX_DISGUISED:], tricks)
    totals = cues.sums(terms) | tricks
    score = 1.0 - math.exp(-sum(totals.values()))
    return Suspicion(round(score, 3), score >= cues.threshold or truncated, tuple(sorted(totals)), truncated)


def suspicion(text: str) -> Suspicion:
    """Return how much one text, a document for instance, looks like an injection."""
    return injection(text, text.encode(errors="replace"))


def is_looked_at_whole(text: str) -> bool:
    """Tell whether a text is within all limits: then no part of it has a sign that the text as a whole has not."""
    return len(text) <= MAX_DISGUISED


def _undisguised(text: str, tricks: dict[str, float]) -> str | None:
    """Return what the text says without tricks of writing, or ``None`` when it has none; note the tricks."""
    if not _in_disguise(text, tricks) and not _ZERO_WIDTH.search(text):
        return None
    if _TAGS.search(text):
        text = "".join(chr(ord(c) - 0xE0000) if "\U000e0020" <= c <= "\U000e007e" else c for c in text)
    return unicodedata.normalize("NFKC", _ZERO_WIDTH.sub("", text)).translate(_LOOKALIKES)


def _in_disguise(text: str, tricks: dict[str, float]) -> bool:
    """Tell whether the text has tricks of writing in it; note those that speak against it."""
    if text.isascii():
        return False
    hidden = _HIDDEN_IN_WORD.search(text)
    if hidden or _REVERSED.search(text):
        tricks["hidden_characters"] = _TRICK_WEIGHT
    if _TAGS.search(text):
        tricks["hidden_text"] = _HIDDEN_WEIGHT
    return bool(hidden or _MIXED.search(text) or _STYLED.search(text) or _TAGS.search(text))


def _payloads(text: str) -> tuple[bytes, bool]:
    """Return what the base64 runs of a text say, those that say something in letters, and whether there may be more."""
    # Hardly any text has a word that long, and seeing so takes less than searching.
    if max(map(len, text.split()), default=0) < _SHORTEST_PAYLOAD:
        return b"", False
    found: list[bytes] = []
    left = MAX_DISGUISED
    for run in _BASE64.finditer(text):
        value = run.group()
        left -= len(value)
        if left < 0:
            return b"\n".join(found), True
        if value.isdigit() or len(set(value)) < 10:
            continue
        try:
            decoded = base64.b64decode(value[: len(value) // 4 * 4])
        except (binascii.Error, ValueError):
            continue
        if len(decoded.translate(None, _LEGIBLE)) < 0.1 * len(decoded):
            found.append(decoded)
    return b"\n".join(found), False
