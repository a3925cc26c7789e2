"""Finding out whose a broken message is, and where it is broken: pure, and bounded in depth, memory and time.

A path is told in the schema's own words. What else a message calls its fields is the caller's text, which a record
would keep for ever: of that at most one plain name, the unknown field itself, is told.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from schemas.job import Cancel, Job, Replay

MAX_NESTING: Final = 100
"""How deep a message may nest; parsers and serializers further on give up at twice that."""
MAX_DIAGNOSED_BYTES: Final = 24 * 1024 * 1024
MAX_DIAGNOSED_TOKENS: Final = 2_000_000

_LONGEST_PATH: Final = 8
"""No path of the schema has more parts."""

Part = str | int
Containers = dict[str, Any] | list[Any]

_SCHEMA: Final = Job.model_json_schema()
_KNOWN: Final = frozenset(
    name
    for model in (_SCHEMA, *_SCHEMA["$defs"].values(), Cancel.model_json_schema(), Replay.model_json_schema())
    for name in model.get("properties", ())
)
_OPAQUE: Final = frozenset({"metadata", "labels", "parameters", "schema"})
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_UNPRINTABLE: Final = re.compile("[\0\ud800-\udfff]")
# A string without its end runs to the end of the input: looking for the end again and again would be quadratic.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


def told(location: Iterable[Part]) -> str | None:
    """Return a path as it may be told: up to the first name that the schema does not know; None for the root."""
    path: list[str] = []
    for part in islice(location, _LONGEST_PATH):
        if isinstance(part, str) and part not in _KNOWN:
            path.append(part if _PLAIN_NAME.match(part) else "?")
            break
        path.append(str(part))
        if part in _OPAQUE:
            break
    return ".".join(path) or None


def lenient_object(value: bytes) -> dict[str, Any] | None:
    """Parse what only a lenient parser accepts: NaN, lone surrogates, invalid UTF-8 inside strings, any depth.

    Returns the object, its numbers inexact; None where it is none, or none can be made of it.
    """
    shallow = _cut(value) if len(value) <= MAX_DIAGNOSED_BYTES else None
    if shallow is None:
        return None
    try:
        # As a float, a number of a million digits is infinity at once instead of a long computation.
        document = json.loads(shallow.decode("utf-8", "surrogateescape"), parse_int=float)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def nests_too_deep(document: Any) -> bool:
    """Whether anything stands more than :data:`MAX_NESTING` containers deep."""
    level = [document]
    for _ in range(MAX_NESTING + 1):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def fault_path(document: dict[str, Any]) -> str | None:
    """Return the path of the first NUL, lone surrogate, NaN, infinity or too deep container; None if there is none."""
    path: list[Part] = []
    waiting: list[Iterator[tuple[Part, Any]]] = [_children(document)]
    while waiting:
        child = next(waiting[-1], None)
        if child is None:
            waiting.pop()
            del path[-1:]
            continue
        part, value = child
        if _is_at_fault(part) or _is_at_fault(value):
            return told([*path, part])
        if isinstance(value, dict | list):
            if len(waiting) > MAX_NESTING:
                return told([*path, part])
            path.append(part)
            waiting.append(_children(value))
    return None


def _children(container: Containers) -> Iterator[tuple[Part, Any]]:
    if isinstance(container, dict):
        return iter(container.items())
    # Millions of plain numbers are the cheapest way to make this walk long.
    return ((index, child) for index, child in enumerate(container) if not isinstance(child, int))


def _is_at_fault(value: Any) -> bool:
    if isinstance(value, str):
        return _UNPRINTABLE.search(value) is not None
    return isinstance(value, float) and not math.isfinite(value)


def _cut(value: bytes) -> bytes | None:
    """Put NaN in the place of every container that is nested too deep; None where that would take too long."""
    openings = value.count(b"[") + value.count(b"{")
    if openings <= MAX_NESTING:
        return value
    if openings + value.count(b'"') > MAX_DIAGNOSED_TOKENS:
        return None
    kept: list[bytes] = []
    depth = taken = 0
    for token in _TOKEN.finditer(value):
        if token[0] in (b"[", b"{"):
            depth += 1
            if depth == MAX_NESTING + 2:
                kept += value[taken : token.start()], b"NaN"
        elif token[0] in (b"]", b"}"):
            depth -= 1
            if depth == MAX_NESTING + 1:
                taken = token.end()
    kept.append(value[taken:] if depth <= MAX_NESTING + 1 else b"")
    return b"".join(kept)
