"""What ``record.append`` must do, in a few lines of Python: the fence as guarantees say it, without a database."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import NamedTuple
from uuid import UUID

from services.runtime.ledger import Entry, Writes

LATE = frozenset({"late_result", "cost_corrected", "feedback", "erased"})
Transitions = frozenset[tuple[str, str]]
"""Which kind may follow which: pairs of the kind before, empty before the first, and the kind."""

_RULES = re.compile(r"INSERT INTO record\.transition\b.*?;", re.DOTALL)
_RULE = re.compile(r"\('(\w*)', '([\w ]+)'\)")


class NoChainError(Exception):
    """The entries given for a record do not follow one another: the whole call is refused."""

    def __init__(self, record_id: UUID) -> None:
        super().__init__(record_id)
        self.record_id = record_id


class LateTwiceError(Exception):
    """A chain that would go in brings a late entry again behind its first: the whole call is refused."""


class Given(NamedTuple):
    """An entry as ``record.append`` is given it: with the hash of the entry that it says it follows."""

    entry: Entry
    prev: bytes | None


class Fence:
    """All records as the database should hold them. A stored chain is replaced, never changed."""

    def __init__(self, transitions: Transitions, stored: Mapping[UUID, Sequence[Entry]] | None = None) -> None:
        """Take which kind may follow which, and what is stored already."""
        self.stored: dict[UUID, Sequence[Entry]] = dict(stored or {})
        self._transitions = transitions

    def append(self, chains: Sequence[Writes]) -> dict[UUID, Sequence[Entry]]:
        """Store the chains that may go in; return the others with what is stored from their position on."""
        return self.append_given([link for chain in chains for link in _links(chain)])

    def append_given(self, given: Sequence[Given]) -> dict[UUID, Sequence[Entry]]:
        """Do the same for entries as they come, of several records, in any order.

        Raises :class:`NoChainError` and :class:`LateTwiceError`; nothing is stored then.
        """
        chains: dict[UUID, list[Given]] = {}
        for link in sorted(given, key=lambda link: (link.entry.record_id.int, link.entry.seq)):
            chains.setdefault(link.entry.record_id, []).append(link)
        for chain in chains.values():
            self._require_chain(chain)
        refused: dict[UUID, Sequence[Entry]] = {}
        taken: dict[UUID, Sequence[Entry]] = {}
        for record_id, chain in chains.items():
            rows = self.stored.get(record_id, ())
            if self._goes_in(chain[0], rows):
                taken[record_id] = [*rows, *(link.entry for link in chain)]
                _require_late_once(taken[record_id])
            else:
                refused[record_id] = rows[chain[0].entry.seq :]
        self.stored.update(taken)
        return refused

    def _goes_in(self, first: Given, rows: Sequence[Entry]) -> bool:
        if first.entry.seq != len(rows):
            return False
        if first.entry.kind in LATE and any(r.entry_id == first.entry.entry_id for r in rows if r.kind in LATE):
            return False
        before = rows[-1] if rows else None
        follows = first.prev == (before.hash if before else None)
        return follows and self._may_follow(before.kind if before else "", first.entry.kind)

    def _may_follow(self, after: str, kind: str) -> bool:
        return (after, kind) in self._transitions

    def _require_chain(self, chain: Sequence[Given]) -> None:
        for (before, _), (entry, prev) in itertools.pairwise(chain):
            follows = entry.seq == before.seq + 1 and prev == before.hash
            if not follows or not self._may_follow(before.kind, entry.kind):
                raise NoChainError(entry.record_id)


def _links(chain: Writes) -> list[Given]:
    hashes = [chain.prev, *(entry.hash for entry in chain.entries)]
    return [Given(entry, prev) for entry, prev in zip(chain.entries, hashes, strict=False)]


def _require_late_once(rows: Sequence[Entry]) -> None:
    late = [row.entry_id for row in rows if row.kind in LATE]
    if len(set(late)) < len(late):
        raise LateTwiceError


def transitions_of_migrations() -> Transitions:
    """Return which kind may follow which, read from the migrations' own text; raises ``ValueError`` where it is not."""
    folder = resources.files("schemas.sql").joinpath("migrations")
    texts = [file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql")]
    rules = [rule for text in texts for block in _RULES.findall(text) for rule in _RULE.findall(block)]
    if not rules:
        raise ValueError("no migration says which kind of entry may follow which")
    return frozenset((after, kind) for after, kinds in rules for kind in kinds.split())


def equal(found: Mapping[UUID, Sequence[Entry]], expected: Mapping[UUID, Sequence[Entry]]) -> bool:
    """Say whether two sets of chains hold the same rows; a record without rows counts as absent."""
    return {r: list(rows) for r, rows in found.items() if rows} == {
        r: list(rows) for r, rows in expected.items() if rows
    }
