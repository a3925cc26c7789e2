"""The script language: what one request asks the simulator to do to it.

A script is words separated by blanks, in the header ``x-sim-script`` or, where that is absent, as ``[[sim: ...]]`` in
the last user message. The words:

=================== ================================================================================================
``latency=MS``      answer after MS milliseconds
``status=NNN``      fail with this HTTP status (400 to 599); nothing is charged
``retry_after=S``   with ``status``: the Retry-After header, whole seconds
``code=WORD``       with ``status``: the error's code, such as ``insufficient_quota``
``hang``            charge, then never answer
``close``           charge, then close the connection without an answer
``malformed``       charge, then send 200 with a body that is not JSON
``truncate``        charge, then send half of the promised body and close the connection
``refuse``          charge, and answer with the model's refusal
``fail=N``          only the first N runs of this body fail (with ``status=503`` unless the script names another fault)
``tokens=N``        an answer of N tokens
``tool`` ``tool=X`` call the first tool offered, or tool X, although the model is free not to
=================== ================================================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from services.standalone.simulator.calls import Fault, FaultKind, InvalidCallError
from services.standalone.simulator.settings import MAX_LATENCY_MS

_DIRECTIVE: Final = re.compile(r"\[\[sim:([^\]]*)\]\]")
_FAULT_WORDS: Final[dict[str, FaultKind]] = {
    "hang": "hang",
    "close": "close",
    "malformed": "malformed",
    "truncate": "truncate",
    "refuse": "refuse",
}
# Each numeric word with the largest value that makes sense, so that a typing error is told rather than obeyed.
_NUMBERS: Final[dict[str, tuple[int, int]]] = {
    "latency": (0, int(MAX_LATENCY_MS)),
    "status": (400, 599),
    "retry_after": (0, 86_400),
    "fail": (1, 1_000_000),
    "tokens": (1, 200_000),
}
_TEXTS: Final[dict[str, re.Pattern[str]]] = {
    "code": re.compile(r"[a-z0-9_]{1,64}"),
    "tool": re.compile(r"[A-Za-z0-9_-]{1,64}"),
}


@dataclass(frozen=True, slots=True)
class Script:
    """A parsed script. ``fail_first`` limits ``fault`` to the first so many runs; ``tool`` is "" for any tool."""

    latency_ms: float | None = None
    fault: Fault | None = None
    fail_first: int | None = None
    tokens: int | None = None
    tool: str | None = None


NO_SCRIPT: Final = Script()


def find_script(header: str | None, last_user_text: str) -> Script:
    """The script of a request; raises :class:`InvalidCallError` where it is not in the language."""
    if header is not None:
        return parse_script(header)
    if "[[sim:" in last_user_text and (found := _DIRECTIVE.search(last_user_text)):
        return parse_script(found.group(1))
    return NO_SCRIPT


def parse_script(source: str) -> Script:
    """Parse the words of a script; the error names the position of a bad word, never the word: it may be content."""
    numbers: dict[str, int] = {}
    texts: dict[str, str] = {}
    kinds: list[FaultKind] = []
    for position, word in enumerate(source.split(), start=1):
        key, assigned, value = word.partition("=")
        if key in _NUMBERS and value.isascii() and value.isdecimal() and len(value) <= 9:
            low, high = _NUMBERS[key]
            numbers[key] = int(value)
            if not low <= numbers[key] <= high:
                raise _bad(f"{key} must be {low} to {high}")
        elif key in _TEXTS and _TEXTS[key].fullmatch(value):
            texts[key] = value
        elif word == "tool":
            texts[key] = ""
        elif key in _FAULT_WORDS and not assigned:
            kinds.append(_FAULT_WORDS[key])
        else:
            raise _bad(f"word {position} is not understood")
    if "status" in numbers or ("fail" in numbers and not kinds):
        kinds.append("status")
    if len(kinds) > 1:
        raise _bad("it names more than one fault")
    if kinds != ["status"] and ("retry_after" in numbers or "code" in texts):
        raise _bad("retry_after and code need a status")
    return Script(
        latency_ms=numbers.get("latency"),
        fault=_fault(kinds[0], numbers, texts) if kinds else None,
        fail_first=numbers.get("fail"),
        tokens=numbers.get("tokens"),
        tool=texts.get("tool"),
    )


def _fault(kind: FaultKind, numbers: dict[str, int], texts: dict[str, str]) -> Fault:
    if kind != "status":
        return Fault(kind)
    return Fault(kind, numbers.get("status", 503), numbers.get("retry_after"), texts.get("code"))


def _bad(what: str) -> InvalidCallError:
    words = ", ".join([*_NUMBERS, *_TEXTS, *_FAULT_WORDS])
    return InvalidCallError(f"The simulator's script is invalid: {what}. Words: {words}.", code="invalid_sim_script")
