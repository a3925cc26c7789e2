"""The database under contract: each test runs once in memory and once on Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest
import pytest_asyncio

from simulation.contract import Connection, Pool
from simulation.memory_database import MemoryDatabase


@pytest.fixture(params=["memory", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Where the real database is; None for the one in memory, which needs no server."""
    return str(request.getfixturevalue("database")) if request.param == "postgres" else None


@pytest_asyncio.fixture
async def pool(url: str | None) -> AsyncIterator[Pool]:
    if url is None:
        yield MemoryDatabase(lambda: datetime.now(UTC)).pool("contract")
    else:
        async with asyncpg.create_pool(url, min_size=1, max_size=8) as pool:
            yield pool


@pytest_asyncio.fixture
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    async with pool.acquire() as connection:
        yield connection
