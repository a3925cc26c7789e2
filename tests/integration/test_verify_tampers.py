"""No change of checkpointed entries goes unnoticed, whoever makes it, and nothing is suspected without one."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from support.notaries import ENDS, OnePool, folder, notary, record, signed, verified
from support.stack_jobs import long_or
from support.tampering import TAMPERS, Target

from services.proof.folder import CheckpointFolder
from services.recorder import notary as notary_module
from services.runtime.postgres import Connection, open_pool

RECORDS_OF_A_KIND = 8
LOOK_EVERY = 25


@pytest_asyncio.fixture
async def published(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckpointFolder:
    """A database of many packs and checkpoints, and all that was published of it."""
    monkeypatch.setattr(notary_module, "PACK_ENTRIES", 20)
    pool = await open_pool(database, service="test", size=2)
    try:
        signer = notary(pool, tmp_path)
        entries = 0
        for end in ENDS:
            await record(pool, RECORDS_OF_A_KIND, end=end)
            entries += RECORDS_OF_A_KIND * (6 + len(end))
            await signed(signer, entries)
    finally:
        await pool.close()
    return folder(tmp_path)


@pytest_asyncio.fixture
async def superuser(database: str, published: CheckpointFolder) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database, server_settings={"enable_seqscan": "off"})
    yield connection
    await connection.close()


async def test_every_tamper_is_found_and_nothing_else(superuser: Connection, published: CheckpointFolder) -> None:
    seed = int(os.environ.get("WAYBILL_CHAOS_SEED", random.SystemRandom().randrange(2**32)))
    print(f"WAYBILL_CHAOS_SEED={seed}")
    chance = random.Random(seed)
    pool = OnePool(superuser)
    outer = superuser.transaction()
    await outer.start()
    target = await Target.of(superuser, chance)
    assert len(target.packs) >= 6
    unnoticed = []
    for number, tamper in zip(range(long_or(100, 1_000)), itertools.cycle(TAMPERS), strict=False):
        if number % LOOK_EVERY == 0:
            assert (await verified(pool, published)).faults == []
        attempt = superuser.transaction()
        await attempt.start()
        await tamper(target)
        if not (await verified(pool, published)).faults:
            unnoticed.append((number, tamper.__name__))
        await attempt.rollback()
    untouched = await verified(pool, published)
    await outer.rollback()
    assert unnoticed == []
    assert untouched.faults == []
    assert untouched.entries == len(target.entries)
    assert untouched.checkpoints == len(published.history())
