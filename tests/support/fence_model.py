"""What ``record.append`` must do, in a few lines of Python: the fence as guarantees say it, without a database."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from uuid import UUID

from services.runtime.ledger import Entry, Writes

LATE = frozenset({"late_result", "cost_corrected", "feedback", "erased"})


class NoChainError(Exception):
    """The entries given for a record do not follow one another: the whole call is refused."""


class Fence:
    """All records as the database should hold them."""

    def __init__(self, transitions: frozenset[tuple[str, str]]) -> None:
        """Take which kind may follow which."""
        self.stored: dict[UUID, list[Entry]] = {}
        self._transitions = transitions

    def append(self, chains: Sequence[Writes]) -> dict[UUID, list[Entry]]:
        """Store the chains that may go in; return the others with what is stored from their position on."""
        for chain in chains:
            self._require_chain(chain.entries)
        refused: dict[UUID, list[Entry]] = {}
        for chain in chains:
            first = chain.entries[0]
            rows = self.stored.setdefault(first.record_id, [])
            if self._goes_in(first, chain.prev, rows):
                rows.extend(chain.entries)
            else:
                refused[first.record_id] = rows[first.seq :]
        return refused

    def _goes_in(self, first: Entry, prev: bytes | None, rows: Sequence[Entry]) -> bool:
        if first.seq != len(rows):
            return False
        if first.kind in LATE and any(row.entry_id == first.entry_id for row in rows if row.kind in LATE):
            return False
        before = rows[-1] if rows else None
        return prev == (before.hash if before else None) and self._may_follow(before.kind if before else "", first.kind)

    def _may_follow(self, after: str, kind: str) -> bool:
        return (after, kind) in self._transitions

    def _require_chain(self, entries: Sequence[Entry]) -> None:
        for before, entry in itertools.pairwise(entries):
            body = entry.content()
            follows = entry.seq == before.seq + 1 and body["prev_hash"] == before.hash.hex()
            if not follows or not self._may_follow(before.kind, entry.kind):
                raise NoChainError


def equal(found: Mapping[UUID, Sequence[Entry]], expected: Mapping[UUID, Sequence[Entry]]) -> bool:
    """Say whether two sets of chains hold the same rows; a record without rows counts as absent."""
    return {r: list(rows) for r, rows in found.items() if rows} == {
        r: list(rows) for r, rows in expected.items() if rows
    }
