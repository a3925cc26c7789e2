"""Jobs that went wrong on their way: valid ones with parts replaced, removed, added, or moved elsewhere."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

import schemas

CANARY = "canary-7f3a@example.com"
"""Stands wherever a caller's own words do. It is no plain name, so no rejection may ever show it."""

_HISTORY = Path(schemas.__file__).parent / "history" / "v1"
_FREE_TEXT = frozenset({"content", "text", "title", "source", "idempotency_key", "subject", "description", "arguments"})

Container = dict[str, Any] | list[Any]
Place = tuple[Container, str | int]


def sample(name: str) -> dict[str, Any]:
    """Return a sample message, by the name of its file."""
    loaded: dict[str, Any] = json.loads((_HISTORY / f"{name}.json").read_bytes())
    return loaded


def planted(value: Any, *, free: bool = False) -> Any:
    """Return a document with the canary in all its free text."""
    if isinstance(value, dict):
        return {
            name: planted(child, free=free or name in _FREE_TEXT or name in ("metadata", "labels"))
            for name, child in value.items()
        }
    if isinstance(value, list):
        return [planted(child, free=free) for child in value]
    # A type says which kind of part it is, also within free content.
    return value + CANARY if free and isinstance(value, str) and value not in ("text", "function") else value


JOBS = [planted(sample(name)) for name in ("job", "job-embed", "job-rerank")]


def places(document: Container) -> list[Place]:
    """Return every place in a document that holds a value."""
    found: list[Place] = []
    waiting: list[Container] = [document]
    while waiting:
        container = waiting.pop()
        for key in container if isinstance(container, dict) else range(len(container)):
            found.append((container, key))
            child = container[key]  # type: ignore[index]
            if isinstance(child, dict | list):
                waiting.append(child)
    return found


def json_values(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Return JSON values made of the leaves given."""
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
    )


PLAIN_LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.floats(-1, 3, exclude_min=True).filter(lambda number: not number.is_integer()),
    st.sampled_from(["", "a", "batch", "chat", "embed", "text", "user", "tool", "json_schema", "none", "zero", CANARY]),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=5),
)
"""Values that every parser reads alike."""

NASTY_LEAVES: st.SearchStrategy[Any] = st.one_of(
    PLAIN_LEAVES,
    st.integers(-(2**70), 2**70),
    st.sampled_from([10**400, float("nan"), float("inf"), -float("inf"), 1e300, 1.0]),
    st.text(st.characters(), max_size=4).map(lambda text: CANARY + text),
    st.sampled_from(["\0", "\ud800", "a\udfff", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "1e9999"]),
)
NAMES = st.sampled_from(["type", "text", "messages", "metadata", CANARY, "", "\ud800", "str", "list[", "\0"])
PLAIN = json_values(PLAIN_LEAVES, st.sampled_from(["type", "text", "messages", CANARY]))
NASTY = json_values(NASTY_LEAVES, NAMES)


@st.composite
def mutated_jobs(draw: st.DrawFn, values: st.SearchStrategy[Any], *, spared: frozenset[str] = frozenset()) -> Any:
    """Return a job with one to three mutations; fields named in ``spared`` stay as they are."""
    job = deepcopy(draw(st.sampled_from(JOBS)))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        reachable = [place for place in places(job) if place[1] not in spared]
        if not reachable:
            break
        container, key = draw(st.sampled_from(reachable))
        match draw(st.sampled_from(["replace", "remove", "add", "copy"])):
            case "replace":
                container[key] = draw(values)  # type: ignore[index]
            case "remove":
                del container[key]  # type: ignore[arg-type]
            case "add":
                if isinstance(container, dict):
                    container[draw(st.sampled_from(["extra", "model", "name", CANARY]))] = draw(values)
                else:
                    container.append(draw(values))
            case "copy":
                other, where = draw(st.sampled_from(reachable))
                if where in other if isinstance(other, dict) else where < len(other):  # type: ignore[operator]
                    container[key] = deepcopy(other[where])  # type: ignore[index]
    return job
