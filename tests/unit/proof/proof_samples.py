"""A small log for tests: entries of two records, packed and signed by a key made for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.proof.checkpoint import Checkpoint
from services.proof.merkle import hash_leaf, inclusion_ranges, root_of
from services.proof.note import SigningKey
from services.proof.pack import Log, Pack, Position
from services.proof.proof_file import ProofFile, ProvenEntry

KEY = SigningKey("waybill/test", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
RECORD, OTHER = UUID(int=1), UUID(int=2)


def bodies(record_id: UUID, count: int) -> list[str]:
    """Return the bodies of a chain."""
    made: list[str] = []
    previous: str | None = None
    for seq in range(count):
        made.append(
            json.dumps(
                {"record_id": str(record_id), "seq": seq, "prev_hash": previous, "data": "ä€𝄞"}, ensure_ascii=False
            )
        )
        previous = hash_leaf(made[-1].encode()).hex()
    return made


def positions(record_id: UUID, texts: Sequence[str], xid: int) -> list[Position]:
    """Return the positions of a chain whose entries one transaction wrote."""
    return [Position(record_id.bytes, seq, xid, hash_leaf(text.encode())) for seq, text in enumerate(texts)]


def log(*transactions: Sequence[Position]) -> Log:
    """Return the log of some transactions, one pack for each."""
    current = Log.empty()
    for entries in transactions:
        current = Pack.of(current, entries, entries[-1].xid + 1).after()
    return current


def checkpoint(of: Log, system: int = 7) -> Checkpoint:
    """Return the checkpoint of a log."""
    return Checkpoint(KEY.public.name, of.tree.size, of.tree.root(), system, of.positions, AT)


def proof_file() -> ProofFile:
    """Return a proof of the second of two records: three entries, at leaves 4 to 6 of 7."""
    first, second = bodies(OTHER, 4), bodies(RECORD, 3)
    entries = [*positions(OTHER, first, 1), *positions(RECORD, second, 2)]
    leaves = [position.entry_hash for position in entries]
    signed = checkpoint(log(entries[:4], entries[4:])).signed(KEY)
    proven = [
        ProvenEntry(leaf, tuple(root_of(leaves[start:end]) for start, end in inclusion_ranges(leaf, 7)), body)
        for leaf, body in enumerate(second, 4)
    ]
    return ProofFile(RECORD, signed, proven)
