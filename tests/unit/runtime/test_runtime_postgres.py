"""Which errors of Postgres pass by themselves, and which name a culprit in the data."""

from __future__ import annotations

import asyncpg
import asyncpg.exceptions._base
import pytest

from services.runtime.faults import blames_an_item
from services.runtime.postgres import blames_a_row, is_transient

TRANSIENT = [
    asyncpg.ConnectionDoesNotExistError(),
    asyncpg.TooManyConnectionsError(),
    asyncpg.CannotConnectNowError(),
    asyncpg.AdminShutdownError(),
    asyncpg.DeadlockDetectedError(),
    asyncpg.SerializationError(),
    asyncpg.LockNotAvailableError(),
    asyncpg.QueryCanceledError(),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InternalClientError("cannot switch to state 11"),
    ConnectionResetError(),
    TimeoutError(),
]
OF_A_ROW = [
    asyncpg.UniqueViolationError(),
    asyncpg.CheckViolationError(),
    asyncpg.NotNullViolationError(),
    asyncpg.StringDataRightTruncationError(),
    asyncpg.CharacterNotInRepertoireError(),
    asyncpg.ProgramLimitExceededError(),
    asyncpg.exceptions._base.DataError("invalid input for query argument $1"),
]
NEITHER = [
    asyncpg.UndefinedTableError(),
    asyncpg.InsufficientPrivilegeError(),
    asyncpg.PostgresSyntaxError(),
    asyncpg.InternalServerError(),
    asyncpg.PostgresError(),
    ValueError(),
    KeyError(),
]


def name(error: Exception) -> str:
    """Return an id for a test."""
    return type(error).__name__


@pytest.mark.parametrize("error", TRANSIENT, ids=name)
def test_the_same_work_may_succeed_later(error: Exception) -> None:
    assert is_transient(error)
    assert not blames_a_row(error)
    assert not blames_an_item(error)


@pytest.mark.parametrize("error", OF_A_ROW, ids=name)
def test_a_row_is_to_blame(error: Exception) -> None:
    assert blames_a_row(error)
    assert not is_transient(error)


@pytest.mark.parametrize("error", NEITHER, ids=name)
def test_nobody_helps_but_a_person(error: Exception) -> None:
    assert not is_transient(error)
    assert not blames_a_row(error)
