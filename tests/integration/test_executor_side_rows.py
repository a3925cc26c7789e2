"""The executor's appends on a real database: side rows go in with their entry, once, and never without it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest_asyncio
from support import sql
from support.chains import appended, chain
from support.servers import OpenHost

from schemas.codes import EntryKind
from services.executor.store import AppendRequest, HeldRow, Store
from services.runtime.ids import new_record_id, now
from services.runtime.ledger import ChainHead, Entry

_SQL = sql.load("executor")
UNTIL_DECIDED = [EntryKind.RECEIVED, EntryKind.CLASSIFIED, EntryKind.DECIDED]


@pytest_asyncio.fixture
async def store(host: OpenHost) -> AsyncIterator[Store]:
    executor = await host("executor")
    yield Store(executor.pool, executor.keyring, executor.telemetry)


@pytest_asyncio.fixture
async def decided(connection: asyncpg.Connection[Any]) -> Entry:
    [last] = await appended(connection, chain(new_record_id(), UNTIL_DECIDED))
    return last


def hold(record_id: UUID, head: ChainHead) -> AppendRequest:
    row = HeldRow(record_id, head.seq + 1, "acme", "in_doubt", None, now() + timedelta(hours=1))
    return AppendRequest(chain(record_id, [EntryKind.HELD], head), held=row)


async def held_rows(connection: asyncpg.Connection[Any], record_id: UUID) -> int:
    count: int = await connection.fetchval(_SQL["held_rows"], record_id)
    return count


async def test_a_hold_that_is_stored_already_writes_no_second_row(
    store: Store, connection: asyncpg.Connection[Any], decided: Entry
) -> None:
    request = hold(decided.record_id, decided.head)
    assert await store.append(request) is None
    assert await store.append(request) == list(request.chain.entries)
    assert await held_rows(connection, decided.record_id) == 1


async def test_a_hold_that_meets_anothers_claim_writes_no_row(
    store: Store, connection: asyncpg.Connection[Any], decided: Entry
) -> None:
    claim = chain(decided.record_id, [EntryKind.ATTEMPT_STARTED], decided.head, cause="another's")
    await appended(connection, claim)
    assert await store.append(hold(decided.record_id, decided.head)) == list(claim.entries)
    assert await held_rows(connection, decided.record_id) == 0
