"""The proof of one record: where its entries stand in the tree, and their audit paths, from few packs of positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from services.cli.verification.walk import pack_of
from services.proof.checkpoint import Checkpoint
from services.proof.merkle import Frontier, Range, inclusion_ranges
from services.proof.pack import Pack
from services.proof.proof_file import ProvenEntry
from services.runtime import queries
from services.runtime.ledger import Entry

_SQL = queries.load("verify")


@dataclass(frozen=True, slots=True)
class StoredChain:
    """A record as stored, and the transaction of each entry."""

    entries: Sequence[Entry]
    xids: Sequence[int]


async def read_chain(pool: asyncpg.Pool[Any], record_id: UUID) -> StoredChain:
    """Return a record's entries, none if there is no such record."""
    rows = await pool.fetch(_SQL["chain"], record_id)
    return StoredChain([Entry(*tuple(row)[:-1]) for row in rows], [row["xid"] for row in rows])


class Prover:
    """Finds leaves and audit paths under one checkpoint. Nothing here is trusted: what it returns is checked after."""

    def __init__(self, pool: asyncpg.Pool[Any], checkpoint: Checkpoint) -> None:
        self._pool = pool
        self._size = checkpoint.size
        self._packs: list[Pack] = []
        self._roots: dict[Range, bytes] = {}
        self.fault: str | None = None
        """What is wrong with the positions of the chain that was proven."""

    async def prove(self, chain: StoredChain) -> list[ProvenEntry]:
        """Return the entries up to the first that the checkpoint does not cover, with their paths."""
        proven: list[ProvenEntry] = []
        for entry, xid in zip(chain.entries, chain.xids, strict=True):
            leaf = await self._leaf(entry, xid)
            if leaf is None or leaf >= self._size:
                break
            path = tuple([await self._root(range_) for range_ in inclusion_ranges(leaf, self._size)])
            proven.append(ProvenEntry(leaf, path, entry.body))
        return proven

    async def _leaf(self, entry: Entry, xid: int) -> int | None:
        pack = next((pack for pack in self._packs if pack.before.xid <= xid < pack.xid_to), None)
        if pack is None:
            pack = await self._read("pack_of_transaction", xid)
        if pack is None:
            return None
        for leaf, position in enumerate(pack, pack.first_leaf):
            if (position.record_id, position.seq) == (entry.record_id.bytes, entry.seq):
                return leaf
        self.fault = f"entry {entry.seq} has no position, and its transaction is covered"
        return None

    async def _root(self, leaves: Range) -> bytes:
        """Return the root over a subtree's leaves: what its last pack's tree has of it, and that pack's leaves."""
        if leaves not in self._roots:
            start, end = leaves
            pack = next((p for p in self._packs if p.first_leaf < end <= p.first_leaf + p.count), None)
            pack = pack or await self._read("pack_of_leaf", end - 1)
            assert pack is not None, "a leaf was found, so there are packs"
            first = pack.first_leaf
            tree = pack.before.tree.since(start) if start < first else Frontier()
            self._roots[leaves] = tree.extended(pack.leaves()[max(0, start - first) : end - first]).root()
        return self._roots[leaves]

    async def _read(self, query: str, number: int) -> Pack | None:
        row = await self._pool.fetchrow(_SQL[query], number)
        if row is None:
            return None
        pack = pack_of(row)
        self._packs.append(pack)
        return pack
