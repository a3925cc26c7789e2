"""The lease: a call is started only while the row surely lives."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.runtime import lease as lease_module
from services.runtime.lease import Lease
from services.runtime.telemetry import Telemetry

PATIENCE_S = 120.0


class MemoryPool:
    """The lease table, and a database that can be away."""

    def __init__(self) -> None:
        self.workers: set[UUID] = set()
        self.renewals = 0
        self.error: Exception | None = None
        self.asked = asyncio.Event()

    async def execute(self, statement: str, *arguments: Any) -> None:
        """Renew or release."""
        self.asked.set()
        if self.error is not None:
            raise self.error
        if statement.startswith("-- Take or renew"):
            self.renewals += 1
            self.workers.add(arguments[0])
        else:
            self.workers.discard(arguments[0])

    async def fetch(self, statement: str, workers: list[UUID]) -> list[dict[str, UUID]]:
        """Return who lives."""
        return [{"worker": worker} for worker in workers if worker in self.workers]

    async def until_asked_again(self) -> None:
        """Wait for the next statement."""
        self.asked.clear()
        async with asyncio.timeout(PATIENCE_S):
            await self.asked.wait()


class Clock:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        """Return the present."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The lease's clock."""
    clock = Clock()
    monkeypatch.setattr(lease_module, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def pool() -> MemoryPool:
    """The database."""
    return MemoryPool()


def a_lease(pool: MemoryPool, seconds: float) -> Lease:
    """Return a lease on that database."""
    database: Any = pool
    return Lease(database, Telemetry("test"), seconds=seconds)


def may_call(lease: Lease) -> bool:
    """Whether a call may be started now."""
    return lease.valid


async def test_no_call_starts_before_the_lease_is_taken(pool: MemoryPool, clock: Clock) -> None:
    lease = a_lease(pool, 20)
    assert not may_call(lease)

    await lease.start()
    assert may_call(lease)
    assert pool.workers == {lease.worker}
    await lease.stop()


async def test_it_is_believed_for_less_long_than_it_lives(pool: MemoryPool, clock: Clock) -> None:
    lease = a_lease(pool, 20)
    await lease.start()

    clock.now += 14.9
    assert may_call(lease)
    clock.now += 0.1
    assert not may_call(lease)
    await lease.stop()


async def test_a_clean_stop_gives_it_up(pool: MemoryPool, clock: Clock) -> None:
    lease = a_lease(pool, 20)
    await lease.start()
    await lease.stop()

    assert not may_call(lease)
    assert pool.workers == set()


async def test_each_start_is_another_worker(pool: MemoryPool) -> None:
    assert a_lease(pool, 20).worker != a_lease(pool, 20).worker


async def test_who_is_alive_is_the_database_s_word(pool: MemoryPool, clock: Clock) -> None:
    lease, other = a_lease(pool, 20), a_lease(pool, 20)
    await lease.start()

    assert await lease.alive([lease.worker, other.worker]) == {lease.worker}
    await lease.stop()


@pytest.mark.parametrize("error", [ConnectionResetError(), asyncpg.AdminShutdownError(), RuntimeError("a bug")])
async def test_a_renewal_that_fails_is_tried_again_and_those_who_wait_go_on(
    pool: MemoryPool, clock: Clock, error: Exception
) -> None:
    lease = a_lease(pool, 0.004)
    await lease.start()
    pool.error = error
    await pool.until_asked_again()
    clock.now += 1
    waiting = asyncio.create_task(lease.until_valid())
    await pool.until_asked_again()
    assert not may_call(lease)
    assert not waiting.done()

    pool.error = None
    async with asyncio.timeout(PATIENCE_S):
        await waiting
    assert may_call(lease)
    await lease.stop()


async def test_who_holds_it_does_not_wait(pool: MemoryPool, clock: Clock) -> None:
    lease = a_lease(pool, 20)
    await lease.start()

    await lease.until_valid()
    await lease.stop()
