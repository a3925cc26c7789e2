"""Which Python function stands for which named query. A statement is known by its text; an unknown one is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from services.runtime import queries
from simulation.memory_tables import Row, Tables

Answer = Iterable[Sequence[Any]] | None


class UnknownStatementError(LookupError):
    """No function stands for this statement."""


class ArgumentError(asyncpg.InterfaceError, ValueError):
    """The driver cannot bring a value into the form that its column takes."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a statement works on: the tables as it sees them, the times that it reads, and who runs it."""

    tables: Tables
    now: datetime
    """When its transaction began: ``now()``."""
    clock: Callable[[], datetime]
    """What ``clock_timestamp()`` gives."""
    user: str


@dataclass(frozen=True, slots=True)
class Query:
    """A named query: what it does, which columns its rows have, and whether it writes or locks rows."""

    name: str
    function: Callable[..., Answer]
    places: Mapping[str, int]
    locks: bool

    def run(self, scope: Scope, arguments: Sequence[Any]) -> list[Row]:
        """Return the rows of the answer; raises what the database or the driver would."""
        _require_storable(arguments)
        return [Row(self.places, values) for values in self.function(scope, *arguments) or ()]


_queries: dict[str, Query] = {}


def find(statement: str) -> Query:
    """Return the query of a statement's text; raises :class:`UnknownStatementError`, which names it."""
    try:
        return _queries[statement]
    except KeyError:
        raise UnknownStatementError(f"the database in memory does not know this statement:\n{statement}") from None


def reads(name: str, columns: str) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Register a function for the query ``file.name`` that writes and locks nothing."""
    return _registered(name, columns, locks=False)


def writes(name: str, columns: str = "") -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Register a function for the query ``file.name`` that writes, or locks what it reads."""
    return _registered(name, columns, locks=True)


def _registered(name: str, columns: str, *, locks: bool) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
        file, _, query = name.partition(".")
        text = queries.load(file)[query]
        if text in _queries:
            raise ValueError(f"{name} is the same statement as {_queries[text].name}")
        places = {column: place for place, column in enumerate(columns.split())}
        _queries[text] = Query(name, function, places, locks)
        return function

    return register


def _require_storable(arguments: Iterable[Any]) -> None:
    """Refuse what never reaches a table: text that UTF-8 or Postgres cannot hold, and arrays that are none."""
    for value in arguments:
        if isinstance(value, str):
            try:
                require_text(value)
            except UnicodeEncodeError:
                raise ArgumentError("invalid input for query argument: no text") from None
        elif isinstance(value, list | tuple):
            _require_storable(value)
        elif (isinstance(value, Sized) and not isinstance(value, bytes)) or hasattr(value, "__next__"):
            raise ArgumentError(f"invalid input for query argument: a {type(value).__name__} is no array")


def require_text(value: str) -> None:
    """Raise what a text raises that cannot be stored: ``UnicodeEncodeError`` in the driver, or the database's error."""
    if b"\0" in value.encode():
        raise asyncpg.CharacterNotInRepertoireError("invalid byte sequence for encoding: 0x00")
