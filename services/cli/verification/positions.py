"""Entries against their positions: those of a pack's transactions, the same, in this order, no more and no fewer."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from uuid import UUID

from services.cli.verification.entries import Row
from services.cli.verification.faults import Fault
from services.proof.pack import Pack, Position


def compare(pack: Pack, rows: Sequence[Row]) -> list[Fault]:
    """Return where the entries of a pack's transactions are not those that have positions in it."""
    if _as_packed(rows) == (pack.record_ids, pack.seqs, pack.xids, pack.hashes):
        return []
    return _differences(pack, rows)


def _as_packed(rows: Sequence[Row]) -> tuple[bytes, bytes, bytes, bytes] | None:
    count = len(rows)
    try:
        return (
            bytes.fromhex("".join([row[0] for row in rows]).replace("-", "")),
            struct.pack(f">{count}I", *[row[1] for row in rows]),
            struct.pack(f">{count}Q", *[row[2] for row in rows]),
            b"".join([row[7] for row in rows]),
        )
    except struct.error:  # a number that no entry can have
        return None


def _differences(pack: Pack, rows: Sequence[Row]) -> list[Fault]:
    faults: list[Fault] = []
    placed: dict[tuple[str, int], tuple[int, Position]] = {}
    for leaf, position in enumerate(pack, pack.first_leaf):
        placed[str(UUID(bytes=position.record_id)), position.seq] = leaf, position
    for record_id, seq, xid, *_, stored, _ in rows:
        place = placed.pop((record_id, seq), None)
        if place is None:
            faults.append(Fault("it has no position, and its transaction is covered", record_id, seq))
            continue
        leaf, position = place
        if position.entry_hash != stored:
            faults.append(Fault("it is not the entry that was given this position", record_id, seq, leaf))
        elif position.xid != xid:
            faults.append(Fault("its transaction is not the one it was placed by", record_id, seq, leaf))
    faults += [
        Fault("it is missing, or under another transaction", record_id, seq, leaf)
        for (record_id, seq), (leaf, _) in placed.items()
    ]
    return faults or [Fault("the entries are not in the order of their positions", leaf=pack.first_leaf)]
