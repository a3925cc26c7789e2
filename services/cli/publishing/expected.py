"""Which published lines still wait for a result, and which a result settles: pure, and small per line.

A result names where its job stood. That is exact for a line of ours; but a job that was published before answers from
where it stood *then*, and an equal line of the same file from where the first one stood. Those are told by tenant and
key. Two lines with one key and different payloads are two jobs (the second is rejected), so equal payloads are told by
a digest.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from services.cli.publishing.items import Item, Position


@dataclass(frozen=True, slots=True)
class Waiting:
    """One published line without a result."""

    line: int
    custom_id: str | None
    name: tuple[str, str] | None
    """Tenant and idempotency key."""
    payload: bytes


class Expected:
    """The lines that wait."""

    def __init__(self) -> None:
        self._by_position: dict[Position, Waiting] = {}
        self._by_name: dict[tuple[str, str], dict[Position, Waiting]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._by_position)

    def add(self, item: Item, position: Position) -> None:
        """Wait for the result of a line that was acknowledged at ``position``."""
        name = None if item.tenant is None or not item.key else (item.tenant, item.key)
        waiting = Waiting(item.line, item.custom_id, name, b"" if name is None else payload_digest(item.value))
        self._by_position[position] = waiting
        if name is not None:
            self._by_name[name][position] = waiting

    def settle(self, result: Mapping[str, Any]) -> list[Waiting]:
        """Return the lines that this result answers, and wait for them no more; none for a stranger's or a repeat."""
        position = _position(result.get("source"))
        exact = None if position is None else self._by_position.get(position)
        if position is not None and exact is not None:
            equals = self._by_name.get(exact.name, {}) if exact.name is not None else {}
            settled = {position, *(place for place, other in equals.items() if other.payload == exact.payload)}
        else:
            settled = set(self._by_name.get(_name(result), {}))
        return [self._forget(place) for place in sorted(settled, key=lambda place: self._by_position[place].line)]

    def settle_position(self, position: Position) -> Waiting | None:
        """Return the line at a position and wait for it no more; None if none waits there."""
        return self._forget(position) if position in self._by_position else None

    def _forget(self, position: Position) -> Waiting:
        waiting = self._by_position.pop(position)
        if waiting.name is not None:
            namesakes = self._by_name[waiting.name]
            del namesakes[position]
            if not namesakes:
                del self._by_name[waiting.name]
        return waiting


def payload_digest(value: bytes) -> bytes:
    """Return a digest of what a message says; white space and the order of fields do not count."""
    with suppress(orjson.JSONDecodeError, orjson.JSONEncodeError):
        value = orjson.dumps(orjson.loads(value), option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(value, digest_size=16).digest()


def _name(result: Mapping[str, Any]) -> tuple[str, str]:
    """Return tenant and key; of a result without a key a name that no line has."""
    return str(result.get("tenant")), str(result.get("idempotency_key") or "")


def _position(source: object) -> Position | None:
    match source:
        case {"topic": str(topic), "partition": int(partition), "offset": int(offset)}:
            return Position(topic, partition, offset)
    return None
