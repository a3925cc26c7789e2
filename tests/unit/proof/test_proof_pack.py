"""Packs: positions come out as they went in, the digest fixes all of them, and contradictions are refused."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proof_samples import RECORD, bodies, log, positions

from services.proof.errors import PackError
from services.proof.pack import Log, Pack, Position

PACK = Pack.of(Log.empty(), positions(RECORD, bodies(RECORD, 3), 5), 9)
entries = st.lists(
    st.builds(
        Position,
        record_id=st.binary(min_size=16, max_size=16),
        seq=st.integers(0, 2**31 - 1),
        xid=st.integers(3, 2**63),
        entry_hash=st.binary(min_size=32, max_size=32),
    ),
    min_size=1,
    max_size=40,
).map(lambda found: sorted(found, key=lambda entry: entry.xid))


@given(entries)
def test_positions_come_out_as_they_went_in(packed: list[Position]) -> None:
    pack = Pack.of(Log.empty(), packed, packed[-1].xid + 1)
    pack.check()
    assert list(pack) == packed
    assert pack.after().tree.size == pack.count == len(packed)


@pytest.mark.parametrize(
    "other",
    [
        replace(PACK, xid_to=10),
        replace(PACK, before=replace(PACK.before, xid=1)),
        replace(PACK, record_ids=bytes(48)),
        replace(PACK, seqs=PACK.seqs[4:] + PACK.seqs[:4]),
        replace(PACK, xids=PACK.xids[:-1] + b"\6"),
    ],
)
def test_the_digest_fixes_everything_that_the_tree_does_not(other: Pack) -> None:
    assert other.after().positions != PACK.after().positions
    assert other.after().tree == PACK.after().tree


@pytest.mark.parametrize(
    "broken",
    [
        replace(PACK, record_ids=PACK.record_ids[:-1]),
        replace(PACK, seqs=PACK.seqs[:-4]),
        replace(PACK, xids=b""),
        replace(PACK, hashes=PACK.hashes + b"x"),
        Pack(Log.empty(), 9, b"", b"", b"", b""),
        replace(PACK, xid_to=5),
        replace(PACK, before=replace(PACK.before, xid=6)),
        replace(PACK, xids=PACK.xids[:-1] + b"\4"),
    ],
)
def test_a_pack_that_contradicts_itself_is_refused(broken: Pack) -> None:
    with pytest.raises(PackError):
        broken.check()


def test_a_log_is_the_same_however_it_was_packed_but_for_the_digest() -> None:
    first, second = (positions(UUID(int=n), bodies(UUID(int=n), 2), n) for n in (1, 2))
    together, apart = log([*first, *second]), log(first, second)
    assert together.tree == apart.tree
    assert together.positions != apart.positions
