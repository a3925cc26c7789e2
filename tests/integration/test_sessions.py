"""A session whose client froze in the midst of a transaction does not hold its locks for ever."""

from __future__ import annotations

import asyncio

import pytest
from support import sql
from support.logins import connected

from services.runtime import postgres

_SQL = sql.load("sessions")
BOUND_S = 120


async def test_a_client_frozen_between_preparing_and_running_a_statement_loses_its_transaction(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "TRANSACTION_BOUND", "1s")
    pool = await postgres.open_pool(database, service="frozen", size=1)
    try:
        frozen = await pool.acquire()
        if frozen.get_server_version().major < 17:
            pytest.skip("PostgreSQL has no transaction_timeout before 17")
        await frozen.transaction().start()
        await frozen.execute(_SQL["lock"])
        # The server waits for the statement to be run; to it this session is active, not idle.
        await frozen.prepare(_SQL["another"])
        # Whoever waits here is bound by nothing, or its wait could end before the other's transaction.
        async with asyncio.timeout(BOUND_S), connected(database) as other:
            await other.execute(_SQL["lock"])
    finally:
        pool.terminate()
