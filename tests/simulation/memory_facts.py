"""COPY into the tables of facts: columns, types and keys are read from the migration's own text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Final
from uuid import UUID

import asyncpg

from simulation.memory_registry import require_text
from simulation.memory_tables import Fact, Tables, insert

_TABLE = re.compile(r"CREATE TABLE facts\.(\w+) \((.*?)\n\)", re.DOTALL)
_ADDED = re.compile(r"ALTER TABLE facts\.(\w+)\n((?:    ADD COLUMN .*\n)+)")
_COLUMN = re.compile(
    r"^    ([a-z_]+) +(double precision|\w+)( +NOT NULL)?(?: +CHECK \(\w+ IN \((.*)\)\))?,?$", re.MULTILINE
)
_KEY = re.compile(r"PRIMARY KEY \((.*)\)")
_INTEGERS: Final = range(-(2**31), 2**31)
_FITS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "uuid": lambda value: isinstance(value, UUID),
    "timestamptz": lambda value: isinstance(value, datetime),
    "text": lambda value: isinstance(value, str),
    "jsonb": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int),
    "double precision": lambda value: isinstance(value, int | float),
    "numeric": lambda value: isinstance(value, int | Decimal),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its type, whether it must have a value, and the only values that it takes, if there are such."""

    type: str
    required: bool
    only: frozenset[str]


@dataclass(frozen=True, slots=True)
class FactTable:
    """A table of facts."""

    columns: Mapping[str, Column]
    key: Sequence[str]


@cache
def fact_tables() -> Mapping[str, FactTable]:
    """Return the tables of facts by name, as the migrations make them."""
    folder = resources.files("schemas.sql").joinpath("migrations")
    files = (file for file in folder.iterdir() if file.name.endswith(".sql"))
    text = "\n".join(file.read_text(encoding="utf-8") for file in sorted(files, key=lambda file: file.name))
    added: dict[str, str] = {}
    for name, body in _ADDED.findall(text):
        added[name] = added.get(name, "") + body.replace("ADD COLUMN ", "").replace(";", "")
    return {name: _table(f"{body}\n{added.get(name, '')}") for name, body in _TABLE.findall(text)}


def copy(tables: Tables, table: str, columns: Sequence[str], records: Iterable[Sequence[Any]]) -> None:
    """Append rows to ``facts.{table}``; raises what the database would, or the driver: here a plain ``TypeError``."""
    shape = fact_tables()[table]
    rows: dict[tuple[Any, ...], Fact] = getattr(tables, f"facts_{table}")
    unknown = [name for name in columns if name not in shape.columns]
    if unknown:
        raise asyncpg.UndefinedColumnError(f"column {unknown[0]!r} of relation {table!r} does not exist")
    for record in records:
        row = dict.fromkeys(shape.columns) | dict(zip(columns, record, strict=True))
        for name, column in shape.columns.items():
            _require(name, column, row[name])
        insert(rows, tuple(row[name] for name in shape.key), row)


def _table(body: str) -> FactTable:
    columns = {
        name: Column(kind, bool(required), frozenset(re.findall(r"'(\w+)'", only)))
        for name, kind, required, only in _COLUMN.findall(body)
    }
    [key] = _KEY.findall(body)
    return FactTable(columns, key.split(", "))


def _require(name: str, column: Column, value: Any) -> None:
    if value is None:
        if column.required:
            raise asyncpg.NotNullViolationError(f"null value in column {name!r} violates not-null constraint")
        return
    if not _FITS[column.type](value):
        raise TypeError(f"the value of column {name!r} is no {column.type}")
    if column.type == "integer" and value not in _INTEGERS:
        raise OverflowError("value out of int32 range")
    if isinstance(value, str):
        require_text(value)
    if column.type == "jsonb" and "\\u0000" in value:
        raise asyncpg.UntranslatableCharacterError("unsupported Unicode escape sequence")
    if column.only and value not in column.only:
        raise asyncpg.CheckViolationError(f"new row violates check constraint on column {name!r}")
