"""What a tool does, as far as its name tells: ``read``, ``write``, ``execute`` or ``human_gate``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from typing import Final

from services.detect.rules import tool_rules
from services.detect.rules.labels import Scope

# Names come from jobs: as many are remembered, and no more.
_REMEMBERED: Final = 8_192
# crm_deleteContact, CRMDelete, delete-contact2.
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def tool_scope(name: str, own: Mapping[Scope, Iterable[str]] | None = None) -> Scope:
    """Return the scope of a tool: the one that needs most care of those that its name speaks of.

    ``own`` holds patterns of whole names with ``*``, by scope. They say what a tool does whose name says nothing, and
    for the others may only ask for more care.
    """
    told, known = _told(name)
    if not own:
        return told
    said = [scope for scope, patterns in own.items() if any(fnmatchcase(name, pattern) for pattern in patterns)]
    return max([told, *said] if known or not said else said, key=tool_rules().order.index)


@lru_cache(maxsize=_REMEMBERED)
def _told(name: str) -> tuple[Scope, bool]:
    """Return what a name says of its tool, and whether it says anything."""
    rules = tool_rules()
    words, things = _compiled()
    spoken = [word.lower() for word in _WORD.findall(name)]
    scopes: set[Scope] = {scope for scope, regex in words.items() if any(regex.fullmatch(word) for word in spoken)}
    if any(things.fullmatch(word) for word in spoken) and scopes != {"read"}:
        scopes.add("human_gate")
    return (max(scopes, key=rules.order.index), True) if scopes else (rules.unknown, False)


@cache
def _compiled() -> tuple[dict[Scope, re.Pattern[str]], re.Pattern[str]]:
    rules = tool_rules()
    return {scope: _any_of(words) for scope, words in rules.words.items()}, _any_of(rules.things)


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(word).replace(r"\*", ".*") for word in words))
