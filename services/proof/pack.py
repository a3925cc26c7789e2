"""Packs: which entry stands at which leaf of the tree, some thousand at a time.

A pack covers whole transactions: every entry whose ``xid`` is in ``[xid_from, xid_to)``, in the order of ``xid``,
record and position in the record. Its digest chains over all packs, so a signed one fixes every position, every
transaction number, and which transactions are covered at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from services.proof.errors import PackError
from services.proof.merkle import HASH_BYTES, Frontier

NO_POSITIONS: Final = bytes(HASH_BYTES)
"""The digest before the first pack."""
_UUID_BYTES: Final = 16
_HEADER: Final = struct.Struct(">QIQQ")


class Position(NamedTuple):
    """One entry at its leaf."""

    record_id: bytes
    seq: int
    xid: int
    entry_hash: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """A log up to some leaf: the tree, the digest of all packs, and the first transaction that is not covered."""

    tree: Frontier
    positions: bytes
    xid: int

    @classmethod
    def empty(cls) -> Log:
        """Return the log before the first pack."""
        return cls(Frontier(), NO_POSITIONS, 0)


@dataclass(frozen=True, slots=True)
class Pack:
    """The entries of some transactions, packed; numbers are big-endian. ``before`` is the log that it extends."""

    before: Log
    xid_to: int
    record_ids: bytes
    seqs: bytes
    xids: bytes
    hashes: bytes

    @classmethod
    def of(cls, before: Log, entries: Sequence[Position], xid_to: int) -> Pack:
        """Pack the entries of the transactions from ``before.xid`` up to, and without, ``xid_to``."""
        count = len(entries)
        return cls(
            before=before,
            xid_to=xid_to,
            record_ids=b"".join([entry.record_id for entry in entries]),
            seqs=struct.pack(f">{count}I", *[entry.seq for entry in entries]),
            xids=struct.pack(f">{count}Q", *[entry.xid for entry in entries]),
            hashes=b"".join([entry.entry_hash for entry in entries]),
        )

    @property
    def first_leaf(self) -> int:
        """The leaf of its first entry."""
        return self.before.tree.size

    @property
    def count(self) -> int:
        """How many entries it holds."""
        return len(self.seqs) // 4

    def check(self) -> None:
        """Raise :class:`PackError` unless its parts have the same length, and its transactions are in order."""
        count = self.count
        lengths = (len(self.record_ids), len(self.seqs), len(self.xids), len(self.hashes))
        if count == 0 or lengths != (_UUID_BYTES * count, 4 * count, 8 * count, HASH_BYTES * count):
            raise PackError(f"the pack at leaf {self.first_leaf} has parts of different lengths")
        xids = struct.unpack(f">{count}Q", self.xids)
        if list(xids) != sorted(xids) or not self.before.xid <= xids[0] <= xids[-1] < self.xid_to:
            raise PackError(f"the pack at leaf {self.first_leaf} holds transactions that are not its own")

    def leaves(self) -> list[bytes]:
        """Return the hashes of its leaves."""
        return [self.hashes[at : at + HASH_BYTES] for at in range(0, len(self.hashes), HASH_BYTES)]

    def __iter__(self) -> Iterator[Position]:
        numbers = zip(
            struct.unpack(f">{self.count}I", self.seqs),
            struct.unpack(f">{self.count}Q", self.xids),
            self.leaves(),
            strict=True,
        )
        for place, (seq, xid, entry_hash) in enumerate(numbers):
            yield Position(self.record_ids[place * _UUID_BYTES : (place + 1) * _UUID_BYTES], seq, xid, entry_hash)

    def after(self) -> Log:
        """Return the log with this pack."""
        header = _HEADER.pack(self.first_leaf, self.count, self.before.xid, self.xid_to)
        digest = sha256(self.before.positions + header + self.record_ids + self.seqs + self.xids).digest()
        return Log(self.before.tree.extended(self.leaves()), digest, self.xid_to)
