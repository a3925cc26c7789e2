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
from itertools import islice
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
_MOST_PAYLOADS: Final = 20
# What is normalised and decoded: a text beyond it is looked at as it stands only.
_MOST_DISGUISED: Final = 400_000
_TRICK_WEIGHT: Final = 0.7
_HIDDEN_WEIGHT: Final = 1.5


@dataclass(frozen=True, slots=True)
class Suspicion:
    """``score`` is in [0, 1]; ``signals`` names the kinds of signs found, sorted."""

    score: float
    suspected: bool
    signals: tuple[str, ...]


def injection(text: str, data: bytes) -> Suspicion:
    """Return how much a text, also given in UTF-8, looks like an injection."""
    cues = scorer("injection")
    terms = cues.terms(data)
    tricks: dict[str, float] = {}
    head = text[:_MOST_DISGUISED]
    plain = _undisguised(head, tricks)
    if plain is not None and (uncovered := cues.terms(plain.encode(errors="replace")) - terms):
        terms |= uncovered
        tricks["disguised_words"] = _TRICK_WEIGHT
    for payload in _payloads(head):
        if decoded := cues.terms(payload):
            terms |= decoded
            tricks["encoded_payload"] = _TRICK_WEIGHT
    totals = cues.sums(terms) | tricks
    score = 1.0 - math.exp(-sum(totals.values()))
    return Suspicion(round(score, 3), score >= cues.threshold, tuple(sorted(totals)))


def suspicion(text: str) -> Suspicion:
    """Return how much one text, a document for instance, looks like an injection."""
    return injection(text, text.encode(errors="replace"))


def is_looked_at_whole(text: str) -> bool:
    """Tell whether a text is within all limits: then no part of it has a sign that the text as a whole has not."""
    return len(text) <= _MOST_DISGUISED and len(_base64_runs(text)) <= _MOST_PAYLOADS


def _undisguised(text: str, tricks: dict[str, float]) -> str | None:
    """Return what the text says without tricks of writing, or ``None`` when it has none; note the tricks."""
    if text.isascii():
        return None
    hidden, mixed = _HIDDEN_IN_WORD.search(text), _MIXED.search(text)
    if hidden or _REVERSED.search(text):
        tricks["hidden_characters"] = _TRICK_WEIGHT
    if _TAGS.search(text):
        tricks["hidden_text"] = _HIDDEN_WEIGHT
    if not (hidden or mixed or _ZERO_WIDTH.search(text) or _STYLED.search(text)):
        return None
    tagged = "".join(chr(ord(c) - 0xE0000) if "\U000e0020" <= c <= "\U000e007e" else c for c in text)
    return unicodedata.normalize("NFKC", _ZERO_WIDTH.sub("", tagged)).translate(_LOOKALIKES)


def _base64_runs(text: str) -> list[str]:
    """Return the first runs of base64 in a text, one more than are decoded where there are more."""
    # Hardly any text has a word that long, and seeing so takes less than searching.
    if max(map(len, text.split()), default=0) < _SHORTEST_PAYLOAD:
        return []
    return [run.group() for run in islice(_BASE64.finditer(text), _MOST_PAYLOADS + 1)]


def _payloads(text: str) -> list[bytes]:
    """Return what the first base64 runs of a text say, those that say something in letters."""
    found: list[bytes] = []
    for value in _base64_runs(text)[:_MOST_PAYLOADS]:
        if value.isdigit() or len(set(value)) < 10:
            continue
        try:
            decoded = base64.b64decode(value[: len(value) // 4 * 4])
        except (binascii.Error, ValueError):
            continue
        if sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in decoded) > 0.9 * len(decoded):
            found.append(decoded)
    return found
