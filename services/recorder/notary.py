"""The notary: gives every entry a position in one Merkle tree, and signs the tree.

    ended transactions ─▶ pack: positions, committed ─▶ sign ─▶ publish outside the database

**Order and completeness.** An entry carries the number of its transaction (`xid`), and a pack covers *all* entries
whose number is in ``[xid_from, xid_to)``, where the next pack begins. ``xid_to`` is at most the oldest number that is
still running in the snapshot that reads them (``pg_snapshot_xmin``). Every smaller number has ended: committed, and
then its entries are visible to this snapshot, or aborted, and then there will never be any. Whatever starts later gets
a larger number. So nothing can appear in a covered range afterwards, and what does was put there by hand:

- a transaction that writes its entries after a younger one has committed is older than it, and still running: it holds
  the horizon back until it has ended, and both are packed then, in the order of their numbers;
- subtransactions write under the number of their transaction;
- a long transaction, anywhere in the cluster and prepared ones too, holds everything back: what waits is not lost,
  only not proven. The age of the oldest such entry is a metric, and ends readiness in the end.

Numbers are given when a transaction first writes, so a record's entries need not come in the order of its chain.

**Who decides.** The primary key of the packs is the fence: of two notaries that extend the same tree one gets in, the
other starts over from what is stored. An advisory lock spares vain work and decides nothing. Publishing compares with
what is outside and swaps (:mod:`services.proof.folder`).

**How it fails.** A crash after positions were committed: the next run signs them. What is outside is the memory that a
restored database lacks: the notary signs only what extends the newest checkpoint outside, on the same cluster.
Otherwise it signs nothing, gives no positions, and says why until somebody has looked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import asyncpg

from services.proof.checkpoint import Checkpoint
from services.proof.errors import PackError, ProofError
from services.proof.folder import CheckpointFolder
from services.proof.merkle import Frontier
from services.proof.note import SigningKey
from services.proof.pack import Log, Pack, Position
from services.runtime import queries
from services.runtime.errors import WaybillError
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.postgres import Connection

_SQL = queries.load("notary")
PACK_ENTRIES: Final = 4_096
PACKS_PER_CHECKPOINT: Final = 16
"""Bounds what a crash leaves unsigned, and what the next run reads again."""


class RefusedError(WaybillError):
    """The notary does not sign."""

    hint = "Nothing was signed. docs/runbooks/notary-refuses.md says what to look at."


class Notary:
    """Signs the entries of one database. Any number may run; all publish into one folder."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        key: SigningKey,
        folder: CheckpointFolder,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the database, the key, where checkpoints are published, and the clock that they carry."""
        self._pool = pool
        self._key = key
        self._folder = folder
        self._clock = clock

    async def run_once(self) -> Checkpoint:
        """Give positions to all entries that can have one, sign, publish; return what is newest outside then.

        Raises :class:`RefusedError` where the database does not extend what is outside. Another notary at work is no
        error: it publishes.
        """
        while True:
            newest = await self._newest()
            log = await self._log_after(newest)
            if newest is None:
                # Before any position: from now on an empty folder beside positions is a loss, never a first start.
                await self._publish(None, self._checkpoint(log, await self._system()))
                continue
            for _ in range(PACKS_PER_CHECKPOINT):
                extended = await self._pack(log)
                if extended is None:
                    break
                log = extended
            if log.tree.size == newest.size:
                return newest
            reach(FaultPoint.RECORDER_POSITIONS_STORED)
            await self._publish(newest, self._checkpoint(log, newest.system))

    async def unproven_s(self) -> float:
        """Return for how many seconds the oldest entry has waited that no checkpoint covers; 0 where none waits.

        Where nothing outside can be read, it counts from the last position that was given.
        """
        try:
            newest = await self._newest()
        except RefusedError:
            newest = None
        waited: float | None = await self._pool.fetchval(_SQL["unproven_for"], newest.size if newest else None)
        return waited or 0.0

    # -- what is there ----------------------------------------------------------------------------------------------

    async def _newest(self) -> Checkpoint | None:
        try:
            return await asyncio.to_thread(self._folder.newest)
        except ProofError as error:
            raise RefusedError(f"the checkpoints outside cannot be relied on: {error}") from None

    async def _packs(self, size: int) -> list[Pack]:
        try:
            packs = [_pack_of(row) for row in await self._pool.fetch(_SQL["packs_since"], size)]
            for pack in packs:
                pack.check()
        except (ValueError, PackError) as error:
            raise RefusedError(f"the stored positions are damaged: {error}") from None
        return packs

    async def _log_after(self, newest: Checkpoint | None) -> Log:
        """Return the log as the database has it, if it extends ``newest``; raises :class:`RefusedError`."""
        packs = await self._packs(newest.size if newest else 0)
        if newest is None:
            if packs:
                raise RefusedError("positions were given, but the folder outside is empty: is it the right one?")
            return Log.empty()
        if newest.system != (system := await self._system()):
            raise RefusedError(f"this is cluster {system}; the newest checkpoint outside is of cluster {newest.system}")
        log = Log.empty()
        if newest.size:
            log = packs.pop(0).after() if packs else log
            if log.tree.size != newest.size:
                raise RefusedError(
                    f"the database ends at entry {log.tree.size:,} where {newest.size:,} were signed at "
                    f"{newest.time:%Y-%m-%d %H:%M:%SZ}: it is an earlier state, or was changed"
                )
        if (log.tree.root(), log.positions) != (newest.root, newest.positions):
            raise RefusedError(
                f"the first {newest.size:,} entries are not those that were signed at {newest.time:%Y-%m-%d %H:%M:%SZ}"
            )
        for pack in packs:
            if pack.before != log:
                raise RefusedError(f"the stored positions are damaged: those at leaf {pack.first_leaf} extend nothing")
            log = pack.after()
        return log

    async def _system(self) -> int:
        return int(await self._pool.fetchval(_SQL["system"]))

    # -- going on ---------------------------------------------------------------------------------------------------

    async def _pack(self, log: Log) -> Log | None:
        """Give positions to the next entries and return the log with them; None if there are none, or others do it."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(_SQL["elect"]):
                    return None
                pack = await _next_pack(connection, log)
                if pack is None:
                    return None
                after = await asyncio.to_thread(pack.after)
                reach(FaultPoint.RECORDER_POSITIONS_FOUND)
                await connection.execute(
                    _SQL["insert_pack"],
                    *(pack.first_leaf, pack.before.xid, pack.xid_to),
                    *(pack.record_ids, pack.seqs, pack.xids, pack.hashes),
                    *(pack.before.tree.to_bytes(), pack.before.positions),
                )
        except asyncpg.UniqueViolationError:
            return None
        return after

    def _checkpoint(self, log: Log, system: int) -> Checkpoint:
        return Checkpoint(
            origin=self._key.public.name,
            size=log.tree.size,
            root=log.tree.root(),
            system=system,
            positions=log.positions,
            time=self._clock().replace(microsecond=0),
        )

    async def _publish(self, previous: Checkpoint | None, checkpoint: Checkpoint) -> None:
        """Publish, unless somebody else did since ``previous`` was the newest."""
        note = checkpoint.signed(self._key)
        reach(FaultPoint.RECORDER_CHECKPOINT_SIGNED)
        try:
            await asyncio.to_thread(self._folder.publish, previous, note)
        except ProofError as error:
            raise RefusedError(f"the checkpoint cannot be published: {error}") from None


async def _next_pack(connection: Connection, log: Log) -> Pack | None:
    rows = await connection.fetch(_SQL["unplaced"], log.xid, PACK_ENTRIES)
    if not rows:
        return None
    entries = [Position(row["record_id"], row["seq"], row["xid"], row["entry_hash"]) for row in rows]
    whole = len(rows) < PACK_ENTRIES
    return Pack.of(log, entries, rows[0]["horizon"] if whole else entries[-1].xid + 1)


def _pack_of(row: asyncpg.Record) -> Pack:
    """Return a stored pack; raises ``ValueError`` for a tree that is none."""
    return Pack(
        before=Log(Frontier.from_bytes(row["first_leaf"], row["tree"]), row["positions"], row["xid_from"]),
        xid_to=row["xid_to"],
        record_ids=row["record_ids"],
        seqs=row["seqs"],
        xids=row["xids"],
        hashes=row["hashes"],
    )
