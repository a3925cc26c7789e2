"""The walk over all positions, pack by pack, along the checkpoints."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

import asyncpg

from services.cli.verification.entries import EntryChecker, Link, Row, as_link
from services.cli.verification.faults import Fault
from services.cli.verification.positions import compare
from services.proof.checkpoint import Checkpoint
from services.proof.errors import PackError
from services.proof.merkle import Frontier
from services.proof.pack import Log, Pack
from services.runtime import queries

_SQL = queries.load("verify")
_NOTARY_SQL = queries.load("notary")
PACKS_AT_ONCE: Final = 16
TAIL_ENTRIES: Final = 4_096
KEPT_FAULTS: Final = 1_000
SESSION: Final = {"enable_seqscan": "off"}
"""Entries are found by their transactions, never by a scan of all."""
Advance: TypeAlias = Callable[[Log], None]


@dataclass
class Findings:
    """What a walk has seen so far."""

    entries: int = 0
    """Entries read and compared."""
    uncovered: int = 0
    """Those of them that no checkpoint covers yet."""
    checkpoints: int = 0
    """Checkpoints whose tree was computed anew and is the one that was signed."""
    faults: list[Fault] = field(default_factory=list)
    """The first :data:`KEPT_FAULTS` of them."""
    fault_count: int = 0

    def note(self, faults: Sequence[Fault]) -> None:
        """Count faults, and keep them while they are few."""
        self.fault_count += len(faults)
        self.faults += faults[: max(0, KEPT_FAULTS - len(self.faults))]


class Walk:
    """One verification of one database against its checkpoints."""

    def __init__(self, pool: asyncpg.Pool[Any], checkpoints: Sequence[Checkpoint], start: Log) -> None:
        """Take a pool of at least two connections, all checkpoints oldest first, and where to begin."""
        self._pool = pool
        self._checkpoints = deque(checkpoint for checkpoint in checkpoints if checkpoint.size >= start.tree.size)
        self._newest = checkpoints[-1]
        self.log = start
        """How far positions have been compared."""
        self._entries = EntryChecker()
        self._trees_differ = False
        self.findings = Findings()

    async def run(self, advance: Advance = lambda log: None) -> Findings:
        """Read everything; ``advance`` hears of each pack that was found as it should be, and of all before it."""
        found = self.findings
        self._arrive()
        async for pack, after, rows in self._packs_with_rows():
            found.note(compare(pack, rows))
            await self._check(rows)
            self.log = after
            if after.tree.size > self._newest.size:
                found.uncovered += len(rows)
            self._arrive()
            if not found.fault_count:
                advance(after)
        if (missing := self._newest.size - self.log.tree.size) > 0:
            what = f"{missing:,} signed positions are missing from here on"
            found.note([Fault(what, leaf=self.log.tree.size)])
        await self._tail()
        return found

    # -- what has positions -----------------------------------------------------------------------------------------

    async def _packs_with_rows(self) -> AsyncIterator[tuple[Pack, Log, list[Row]]]:
        """Yield each pack, the log after it and its transactions' entries; the next ones are read meanwhile."""
        log = self.log
        ahead: tuple[Pack, Log, asyncio.Task[list[Row]]] | None = None
        async for stored in self._packs():
            pack = self._rebased(stored, log)
            if pack is None:
                break
            log = pack.after()
            reading = asyncio.create_task(self._rows(pack.before.xid, pack.xid_to))
            try:
                if ahead is not None:
                    yield ahead[0], ahead[1], await ahead[2]
            except BaseException:
                reading.cancel()
                raise
            ahead = pack, log, reading
        if ahead is not None:
            yield ahead[0], ahead[1], await ahead[2]

    async def _packs(self) -> AsyncIterator[asyncpg.Record]:
        leaf = self.log.tree.size
        while rows := await self._pool.fetch(_SQL["packs"], leaf, PACKS_AT_ONCE):
            for row in rows:
                yield row
            leaf = rows[-1]["first_leaf"] + 1

    def _rebased(self, row: asyncpg.Record, before: Log) -> Pack | None:
        """Return a stored pack as the one after ``before``, or None where it is no pack at all.

        What it claims of those before it is only compared: the reckoning is ours.
        """
        found = self.findings
        leaf = before.tree.size
        try:
            claimed: Log | None = pack_of(row).before
        except ValueError:
            claimed = None
        if claimed != before:
            found.note([Fault("the positions here do not follow those before", leaf=leaf)])
        pack = Pack(before, row["xid_to"], row["record_ids"], row["seqs"], row["xids"], row["hashes"])
        try:
            pack.check()
        except PackError as error:
            found.note([Fault(str(error), leaf=leaf)])
            return None
        return pack

    async def _rows(self, first: int, end: int) -> list[Row]:
        return cast("list[Row]", await self._pool.fetch(_SQL["entries"], first, end))

    def _arrive(self) -> None:
        """Compare with the checkpoints of the tree's present size."""
        tree = self.log.tree
        while self._checkpoints and self._checkpoints[0].size <= tree.size:
            signed = self._checkpoints.popleft()
            at = f"{signed.time:%Y-%m-%d %H:%M:%SZ}"
            if signed.size != tree.size:
                self.findings.note([Fault(f"signed at {at}, and no positions end here", leaf=signed.size)])
            elif signed.root == tree.root() and signed.positions == self.log.positions:
                self.findings.checkpoints += 1
            elif not self._trees_differ:
                # Once is enough: every later tree holds the same difference.
                self._trees_differ = True
                what = "tree" if signed.root != tree.root() else "positions"
                said = f"the {what} up to here: not what was signed at {at}"
                self.findings.note([Fault(said, leaf=signed.size)])

    # -- all entries ------------------------------------------------------------------------------------------------

    async def _check(self, rows: Sequence[Row]) -> None:
        faults, unknown = self._entries.check(rows)
        self.findings.entries += len(rows)
        self.findings.note(faults)
        if unknown:
            self.findings.note(await self._unlinked(unknown))

    async def _unlinked(self, links: Sequence[Link]) -> list[Fault]:
        wanted = [UUID(link.record_id) for link in links], [link.seq - 1 for link in links]
        hashes = [row["entry_hash"] for row in await self._pool.fetch(_SQL["hashes"], *wanted)]
        return [
            Fault("it does not follow the entry before it" if stored else "the entry before it is missing", *link[:2])
            for link, stored in zip(links, hashes, strict=True)
            if stored is None or as_link(stored) != link.link
        ]

    async def _tail(self) -> None:
        """Check what has no position yet."""
        first = self.log.xid
        while True:
            ahead = await self._pool.fetchrow(_SQL["next_transactions"], first, TAIL_ENTRIES)
            assert ahead is not None, "an aggregate has a row"
            if ahead["last"] is None:
                return
            begun = ahead["last"] < ahead["unbegun"]
            end = ahead["last"] + 1 if begun else ahead["unbegun"]
            rows = await self._rows(first, end)
            self.findings.uncovered += len(rows)
            await self._check(rows)
            if not begun:
                # Nobody ever gives them a position: they would stay uncovered for ever.
                self.findings.note([Fault("there are entries of transactions that have not begun")])
                return
            first = end


async def log_at(pool: asyncpg.Pool[Any], checkpoint: Checkpoint) -> Log | None:
    """Return the log as it was at a checkpoint, if what is stored there is what was signed."""
    log = Log.empty()
    if checkpoint.size:
        row = await pool.fetchrow(_SQL["pack_of_leaf"], checkpoint.size - 1)
        if row is None:
            return None
        try:
            log = pack_of(row).after()
        except ValueError:
            return None
    same = (log.tree.size, log.tree.root(), log.positions) == (checkpoint.size, checkpoint.root, checkpoint.positions)
    return log if same else None


def pack_of(row: asyncpg.Record) -> Pack:
    """Return a stored pack as it is; raises ``ValueError`` for a tree that is none."""
    before = Log(Frontier.from_bytes(row["first_leaf"], row["tree"]), row["positions"], row["xid_from"])
    return Pack(before, row["xid_to"], row["record_ids"], row["seqs"], row["xids"], row["hashes"])


async def system(pool: asyncpg.Pool[Any]) -> int:
    """Return the identifier of the database cluster."""
    return int(await pool.fetchval(_NOTARY_SQL["system"]))
