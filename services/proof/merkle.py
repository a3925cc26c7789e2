"""The Merkle tree of RFC 6962 (and 9162) over SHA-256: roots, proofs, and growing one without its leaves.

A range of leaves ``(start, end)`` stands for the root of the subtree over them. Proofs are given as ranges first, so
that whoever holds the leaves, a list or a database, decides how to get at their roots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
Range: TypeAlias = tuple[int, int]
"""Leaves from the first number up to, and without, the second."""


def hash_leaf(content: bytes) -> bytes:
    """Return the hash of a leaf's content."""
    return sha256(b"\0" + content).digest()


def hash_children(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return sha256(b"\1" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The roots of the perfect subtrees that a tree falls into, largest first: all that growing it needs.

    Raises ``ValueError`` when their number does not fit the tree's size.
    """

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or self.size.bit_count() != len(self.roots) or {len(r) for r in self.roots} - {HASH_BYTES}:
            raise ValueError(f"{len(self.roots)} subtrees do not make a tree of {self.size} leaves")

    @classmethod
    def from_bytes(cls, size: int, packed: bytes) -> Frontier:
        """Return what :meth:`to_bytes` packed; raises ``ValueError``."""
        return cls(size, tuple(packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)))

    def to_bytes(self) -> bytes:
        """Return the subtrees' roots, one after the other."""
        return b"".join(self.roots)

    def extended(self, leaves: Iterable[bytes]) -> Frontier:
        """Return the tree with more leaves, given by their hashes. Level by level, for speed."""
        nodes = list(leaves)
        roots = list(self.roots)
        size = self.size + len(nodes)
        odd: list[bytes] = []
        level = 0
        while nodes:
            if self.size >> level & 1:
                nodes.insert(0, roots.pop())
            if len(nodes) & 1:
                odd.append(nodes.pop())
            pairs = iter(nodes)
            nodes = [sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            level += 1
        return Frontier(size, (*roots, *reversed(odd)))

    def since(self, start: int) -> Frontier:
        """Return the subtrees from leaf ``start`` on, as a tree of their own; ``start`` must be a subtree's first."""
        at = 0
        for place, width in enumerate(_widths(self.size)):
            if at == start:
                return Frontier(self.size - start, self.roots[place:])
            at += width
        if at != start:
            raise ValueError(f"no subtree of {self.size} leaves starts at {start}")
        return Frontier()

    def root(self) -> bytes:
        """Return the root over all leaves."""
        if not self.roots:
            return EMPTY_ROOT
        *larger, root = self.roots
        for left in reversed(larger):
            root = hash_children(left, root)
        return root


def _widths(size: int) -> Iterable[int]:
    """Yield the sizes of the perfect subtrees of a tree, largest first."""
    while size:
        width = 1 << (size.bit_length() - 1)
        yield width
        size -= width


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaves, given by their hashes."""
    return Frontier().extended(leaves).root()


def _split(start: int, end: int) -> int:
    """Return where RFC 6962 divides a range of at least two leaves: after the largest power of two below its size."""
    return start + (1 << ((end - start - 1).bit_length() - 1))


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the audit path of a leaf, from the leaf's sibling up; raises ``ValueError`` for a leaf not in the tree."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    path: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = _split(start, end)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """Return the proof that a tree of ``new`` leaves extends its first ``old``; raises ``ValueError``."""
    if not 0 < old <= new:
        raise ValueError(f"a tree of {new} leaves is not proven to extend one of {old}")
    path: list[Range] = []
    start, end = 0, new
    while old != end:
        middle = _split(start, end)
        if old <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start:
        # Without it the verifier could not know the old tree's last subtree; from 0 it is the old root itself.
        path.append((start, end))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Say whether a leaf's hash is at ``index`` of the tree with this size and root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = hash_children(sibling, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = hash_children(node, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Say whether the second tree extends the first (RFC 9162, 2.1.4.2). Everything extends the empty tree."""
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    if old == new:
        return not path and old_root == new_root
    if not old < new:
        return False
    nodes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not nodes:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = hash_children(node, first), hash_children(node, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = hash_children(second, node)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root
