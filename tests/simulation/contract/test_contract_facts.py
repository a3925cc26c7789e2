"""Copying facts: what goes in, and what is refused by whom."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from support.chains import AT

from services.runtime.faults import blames_an_item
from services.runtime.ids import new_record_id
from simulation.contract import Connection
from simulation.memory_facts import fact_tables

VALUES = {"timestamptz": AT, "text": "attempt", "jsonb": "{}", "boolean": False, "integer": 1, "numeric": 1}
VALUES |= {"double precision": 0.5}


def fact(table: str, **changed: Any) -> dict[str, Any]:
    columns = fact_tables()[table].columns
    values = {n: min(c.only) if c.only else VALUES.get(c.type) for n, c in columns.items()}
    return {n: new_record_id() if c.type == "uuid" else values[n] for n, c in columns.items()} | changed


async def copy(connection: Connection, table: str, *rows: dict[str, Any]) -> None:
    await connection.copy_records_to_table(
        table, schema_name="facts", columns=list(rows[0]), records=[tuple(row.values()) for row in rows]
    )


@pytest.mark.parametrize("table", ["request", "attempt", "source", "feedback"])
async def test_a_fact_goes_in_once(connection: Connection, table: str) -> None:
    first, second = fact(table), fact(table)
    await copy(connection, table, first, second)
    with pytest.raises(asyncpg.UniqueViolationError):
        await copy(connection, table, fact(table), first)


@pytest.mark.parametrize(
    ("table", "changed", "error"),
    [
        ("request", {"tenant": None}, asyncpg.NotNullViolationError),
        ("request", {"labels": '{"a": "\\u0000"}'}, asyncpg.UntranslatableCharacterError),
        ("request", {"task": "a\0"}, asyncpg.CharacterNotInRepertoireError),
        ("attempt", {"row_kind": "other"}, asyncpg.CheckViolationError),
        ("feedback", {"verdict": "other"}, asyncpg.CheckViolationError),
        ("feedback", {"edit_ratio": "half"}, TypeError),
        ("attempt", {"unknown": 1}, asyncpg.UndefinedColumnError),
        # What the driver itself refuses in a COPY comes as it is.
        ("request", {"input_tokens": 2**31}, OverflowError),
        ("request", {"tenant": 7}, TypeError),
        ("request", {"tenant": "\ud800"}, UnicodeEncodeError),
    ],
)
async def test_a_fact_that_is_refused(
    connection: Connection, table: str, changed: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as refused:
        await copy(connection, table, fact(table, **changed))
    assert blames_an_item(refused.value) == (error is not asyncpg.UndefinedColumnError)
