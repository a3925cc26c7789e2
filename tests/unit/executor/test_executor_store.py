"""The store waits for a database that is away, and says so."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from executor_bench import Clock

from services.executor.store import Store
from services.runtime.telemetry import Telemetry


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes by waiting."""
    clock = Clock()
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    return clock


@pytest.fixture
def store() -> Store:
    """A store whose database is not asked."""
    nothing: Any = None
    return Store(nothing, nothing, Telemetry("executor"))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        asyncpg.AdminShutdownError(),
        asyncpg.CannotConnectNowError(),
        asyncpg.InterfaceError("the connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress"),
    ],
)
async def test_what_passes_is_waited_for(store: Store, clock: Clock, error: Exception) -> None:
    away: list[bool] = []
    errors = [error] * 7

    async def work() -> str:
        away.append(store.away)
        if errors:
            raise errors.pop()
        return "answer"

    assert await store.patiently(work) == "answer"
    assert away == [False, *[True] * 7]
    assert not store.away
    assert clock.waits == [0.05, 0.2, 0.5, 1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("error", [asyncpg.DataError(), asyncpg.InsufficientPrivilegeError(), ZeroDivisionError()])
async def test_what_does_not_pass_is_raised_at_once(store: Store, clock: Clock, error: Exception) -> None:
    async def work() -> None:
        raise error

    with pytest.raises(type(error)):
        await store.patiently(work)
    assert clock.waits == []
    assert not store.away
