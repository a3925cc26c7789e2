"""The tree is RFC 6962's: published vectors, and laws: every proof verifies, every altered one fails."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.proof.merkle import (
    EMPTY_ROOT,
    Frontier,
    Range,
    consistency_ranges,
    hash_leaf,
    inclusion_ranges,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# From the reference implementation of Certificate Transparency, as Trillian and Sigsum use them too.
CONTENTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
LEAVES = [hash_leaf(bytes.fromhex(content)) for content in CONTENTS]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATH_OF_0_IN_8 = [
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
]
PATH_OF_5_IN_8 = [
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]
FROM_6_TO_8 = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]

trees = st.integers(1, 200).map(lambda size: [hash_leaf(str(leaf).encode()) for leaf in range(size)])


def proof(leaves: Sequence[bytes], ranges: Sequence[Range]) -> list[bytes]:
    return [root_of(leaves[start:end]) for start, end in ranges]


def altered(node: bytes) -> bytes:
    return bytes([node[0] ^ 1]) + node[1:]


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_roots(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size]
    assert EMPTY_ROOT.hex() == ROOTS[0]


@pytest.mark.parametrize(("index", "path"), [(0, PATH_OF_0_IN_8), (5, PATH_OF_5_IN_8)])
def test_audit_paths(index: int, path: list[str]) -> None:
    assert [node.hex() for node in proof(LEAVES, inclusion_ranges(index, 8))] == path


def test_consistency_proof() -> None:
    assert [node.hex() for node in proof(LEAVES, consistency_ranges(6, 8))] == FROM_6_TO_8


@given(trees, st.data())
def test_every_inclusion_proof_verifies_and_every_altered_one_fails(leaves: list[bytes], data: st.DataObject) -> None:
    size, root = len(leaves), root_of(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = proof(leaves, inclusion_ranges(index, size))
    assert verify_inclusion(leaves[index], index, size, path, root)
    assert not verify_inclusion(altered(leaves[index]), index, size, path, root)
    assert not verify_inclusion(leaves[index], index, size, path, altered(root))
    assert not verify_inclusion(leaves[index], index, size, [*path, root], root)
    assert not verify_inclusion(leaves[index], size, size, path, root)
    for other in range(size):
        assert (other == index) == verify_inclusion(leaves[index], other, size, path, root)
    for place in range(len(path)):
        assert not verify_inclusion(leaves[index], index, size, path[:place] + path[place + 1 :], root)
        changed = [*path[:place], altered(path[place]), *path[place + 1 :]]
        assert not verify_inclusion(leaves[index], index, size, changed, root)


@given(trees, st.data())
def test_every_consistency_proof_verifies_and_every_altered_one_fails(leaves: list[bytes], data: st.DataObject) -> None:
    new, new_root = len(leaves), root_of(leaves)
    old = data.draw(st.integers(1, new))
    old_root = root_of(leaves[:old])
    path = proof(leaves, consistency_ranges(old, new))
    assert verify_consistency(old, old_root, new, new_root, path)
    assert not verify_consistency(old, altered(old_root), new, new_root, path)
    assert not verify_consistency(old, old_root, new, altered(new_root), path)
    assert not verify_consistency(old, old_root, new, new_root, [*path, new_root])
    assert not verify_consistency(new + 1, old_root, new, new_root, path)
    for place in range(len(path)):
        assert not verify_consistency(old, old_root, new, new_root, path[:place] + path[place + 1 :])
        changed = [*path[:place], altered(path[place]), *path[place + 1 :]]
        assert not verify_consistency(old, old_root, new, new_root, changed)


def test_everything_extends_the_empty_tree() -> None:
    assert verify_consistency(0, EMPTY_ROOT, 8, root_of(LEAVES), [])
    assert not verify_consistency(0, LEAVES[0], 8, root_of(LEAVES), [])


@given(trees, st.data())
def test_growing_a_tree_by_parts_gives_the_same_tree(leaves: list[bytes], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(leaves)))
    part = Frontier().extended(leaves[:cut])
    assert Frontier.from_bytes(part.size, part.to_bytes()) == part
    assert part.extended(leaves[cut:]) == Frontier().extended(leaves)


@given(trees, st.data())
def test_a_subtree_is_the_frontier_within_it_and_the_leaves_after(leaves: list[bytes], data: st.DataObject) -> None:
    """How a proof is made of few packs: what a pack knows of the tree before it, and its own leaves."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    for start, end in inclusion_ranges(index, len(leaves)):
        cut = data.draw(st.integers(start, end - 1))
        frontier = Frontier().extended(leaves[:cut]).since(start)
        assert frontier.extended(leaves[cut:end]).root() == root_of(leaves[start:end])


@pytest.mark.parametrize(("size", "packed"), [(1, b""), (0, bytes(32)), (2, bytes(31)), (-1, b""), (3, bytes(32))])
def test_a_frontier_that_does_not_fit_is_refused(size: int, packed: bytes) -> None:
    with pytest.raises(ValueError, match="do not make a tree"):
        Frontier.from_bytes(size, packed)


@pytest.mark.parametrize("start", [1, 5, 7, 9])
def test_only_a_subtree_can_be_cut_out(start: int) -> None:
    with pytest.raises(ValueError, match="no subtree"):
        Frontier().extended(LEAVES[:7]).since(start if start != 7 else 3)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3)])
def test_a_leaf_that_is_not_there_has_no_path(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_ranges(index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3), (-1, 3)])
def test_a_tree_that_cannot_extend_another_has_no_proof(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="not proven to extend"):
        consistency_ranges(old, new)
