"""The notary: every entry gets one position, in one history, and only what extends what is outside is signed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest
import pytest_asyncio
from support import sql
from support.chains import appended, chain
from support.databases import new_database
from support.notaries import KEY, folder, notary, record, signed, verified
from support.servers import Servers

from services.proof.folder import CheckpointFolder
from services.recorder import notary as notary_module
from services.recorder.notary import RefusedError
from services.runtime.ids import new_record_id
from services.runtime.postgres import open_pool

_SQL = sql.load("notary")
ENTRIES = 7
"""Of one record that :func:`record` makes."""
Pool: TypeAlias = "asyncpg.Pool[Any]"


@pytest_asyncio.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database, service="test", size=6)
    yield pool
    pool.terminate()


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notary_module, "PACK_ENTRIES", 10)
    monkeypatch.setattr(notary_module, "PACKS_PER_CHECKPOINT", 3)


async def test_every_entry_gets_one_position_and_is_signed(pool: Pool, tmp_path: Path) -> None:
    signer = notary(pool, tmp_path)
    assert (await signer.run_once()).size == 0
    for records, total in ((1, 1), (9, 10), (3, 13)):
        await record(pool, records)
        assert await signer.unproven_s() > 0
        await signed(signer, total * ENTRIES)
        assert await signer.unproven_s() == 0
    found = await verified(pool, folder(tmp_path))
    assert found.faults == []
    assert (found.entries, found.uncovered) == (13 * ENTRIES, 0)
    assert found.checkpoints == len(folder(tmp_path).history()) >= 5


async def test_nothing_new_is_nothing_to_sign(pool: Pool, tmp_path: Path) -> None:
    await record(pool)
    signer = notary(pool, tmp_path)
    before = await signed(signer, ENTRIES)
    assert await signer.run_once() == before
    assert len(folder(tmp_path).history()) == 2  # the empty tree, and this


@pytest.mark.parametrize("commits", [True, False])
async def test_an_older_transaction_holds_everything_back_until_it_ends(
    pool: Pool, tmp_path: Path, *, commits: bool
) -> None:
    """It has the smaller number and writes last: had anything been signed meanwhile, its entry would have no place."""
    signer = notary(pool, tmp_path)
    late = new_record_id()
    async with pool.acquire() as older:
        transaction = older.transaction()
        await transaction.start()
        await older.execute(_SQL["take_number"])
        await record(pool, 3)
        assert (await signer.run_once()).size == 0
        assert await signer.unproven_s() > 0
        await appended(older, chain(late, ["received"]))
        assert (await signer.run_once()).size == 0
        await (transaction.commit() if commits else transaction.rollback())
    await signed(signer, 3 * ENTRIES + commits)
    found = await verified(pool, folder(tmp_path))
    assert (found.faults, found.uncovered) == ([], 0)


async def test_what_is_not_covered_yet_is_checked_and_counted(pool: Pool, tmp_path: Path) -> None:
    await record(pool, 2)
    await signed(notary(pool, tmp_path), 2 * ENTRIES)
    await record(pool, 5)
    found = await verified(pool, folder(tmp_path))
    assert (found.faults, found.entries, found.uncovered) == ([], 7 * ENTRIES, 5 * ENTRIES)


async def test_positions_without_a_signature_are_signed_by_the_next_run(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = notary(pool, tmp_path)
    await signer.run_once()
    await record(pool, 4)
    with monkeypatch.context() as broken:
        broken.setattr(CheckpointFolder, "publish", _disk_full)
        with pytest.raises(OSError, match="full"):
            await signed(signer, 4 * ENTRIES)
    assert await pool.fetchval(_SQL["packs"]) > 0
    assert folder(tmp_path).newest().size == 0
    found = await verified(pool, folder(tmp_path))
    assert (found.faults, found.uncovered) == ([], 4 * ENTRIES)
    await signed(notary(pool, tmp_path), 4 * ENTRIES)


def _disk_full(*_: object) -> bool:
    raise OSError("the disk is full")


async def test_notaries_at_the_same_time_make_one_history(pool: Pool, tmp_path: Path) -> None:
    async def sign() -> None:
        for _ in range(5):
            await notary(pool, tmp_path).run_once()

    async def work() -> None:
        for _ in range(5):
            await record(pool, 2)

    await asyncio.gather(sign(), work(), sign(), work(), sign())
    await signed(notary(pool, tmp_path), 20 * ENTRIES)
    found = await verified(pool, folder(tmp_path))
    assert (found.faults, found.uncovered) == ([], 0)
    assert found.checkpoints == len(folder(tmp_path).history())


async def test_the_key_of_packs_fences_a_notary_that_is_behind(pool: Pool, tmp_path: Path) -> None:
    behind, ahead = notary(pool, tmp_path), notary(pool, tmp_path)
    await behind.run_once()
    await record(pool, 1)
    seen = await behind._log_after(folder(tmp_path).newest())
    await signed(ahead, ENTRIES)
    packs = await pool.fetchval(_SQL["packs"])
    assert await behind._pack(seen) is None
    assert await pool.fetchval(_SQL["packs"]) == packs


async def test_a_database_restored_to_an_earlier_state_is_not_signed(
    servers: Servers, database: str, tmp_path: Path
) -> None:
    await _record_and_sign(database, tmp_path, 3, 3)
    async with new_database(servers.database_url, database) as restored:
        await _record_and_sign(database, tmp_path, 2, 5)
        published = folder(tmp_path).history()
        pool = await open_pool(restored, service="test", size=2)
        try:
            packs = await pool.fetchval(_SQL["packs"])
            for more in (0, 1, 10):
                await record(pool, more) if more else None
                with pytest.raises(RefusedError, match=r"ends at entry 21 where 35 were signed .* earlier state"):
                    await notary(pool, tmp_path).run_once()
            assert await pool.fetchval(_SQL["packs"]) == packs, "positions were given that can never be signed"
            assert await notary(pool, tmp_path).unproven_s() > 0
            assert folder(tmp_path).history() == published
            with pytest.raises(RefusedError, match="folder outside is empty"):
                await notary(pool, tmp_path / "another").run_once()
        finally:
            pool.terminate()
    # The true database goes on as if nothing had been.
    await _record_and_sign(database, tmp_path, 1, 6)


async def test_another_history_of_the_same_length_is_not_signed(
    servers: Servers, migrated: str, database: str, tmp_path: Path
) -> None:
    await _record_and_sign(database, tmp_path, 3, 3)
    async with new_database(servers.database_url, migrated) as other:
        await _record_and_sign(other, tmp_path / "its own", 3, 3)
        with pytest.raises(RefusedError, match="first 21 entries are not those that were signed"):
            await _record_and_sign(other, tmp_path, 1, 4)


async def test_another_cluster_is_not_signed(pool: Pool, tmp_path: Path) -> None:
    await record(pool)
    newest = await signed(notary(pool, tmp_path), ENTRIES)
    elsewhere = replace(newest, system=newest.system + 1)
    assert CheckpointFolder(tmp_path / "moved" / "checkpoints", KEY.public).publish(None, elsewhere.signed(KEY))
    with pytest.raises(RefusedError, match=f"this is cluster {newest.system}"):
        await notary(pool, tmp_path / "moved").run_once()


async def test_damaged_positions_are_not_built_upon(pool: Pool, tmp_path: Path) -> None:
    signer = notary(pool, tmp_path)
    await record(pool, 3)
    await signed(signer, 3 * ENTRIES)
    tamper = sql.load("tamper")
    await pool.execute(tamper["unlock"])
    first = (await pool.fetch(tamper["packs"]))[-1]["first_leaf"]
    await pool.execute(tamper["set_pack"].format(column="seqs"), first, b"\0\0\0\1")
    with pytest.raises(RefusedError, match="damaged"):
        await signer.run_once()
    await pool.execute(tamper["set_pack"].format(column="tree"), first, b"\0")
    with pytest.raises(RefusedError, match="damaged"):
        await signer.run_once()


async def _record_and_sign(url: str, path: Path, records: int, total: int) -> None:
    pool = await open_pool(url, service="test", size=2)
    try:
        await record(pool, records)
        await signed(notary(pool, path), total * ENTRIES)
    finally:
        await pool.close()
