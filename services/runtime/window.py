"""The sliding window of one partition: slots that finish out of order, and the offset that may be committed.

A slot is open from the moment its message is taken until its work is done. The commit base is the offset below which
every slot is done; it moves only when the head is done, so a gap is never committed over.
"""

from __future__ import annotations

from collections import deque


class Slot:
    """One message in work."""

    __slots__ = ("done", "offset")

    def __init__(self, offset: int) -> None:
        """Open a slot for an offset."""
        self.offset = offset
        self.done = False


class Window:
    """Slots of one partition in order of their offsets, which may have gaps."""

    __slots__ = ("_base", "_next", "_slots")

    def __init__(self) -> None:
        """Start empty."""
        self._slots: deque[Slot] = deque()
        self._base: int | None = None
        self._next: int | None = None

    def __len__(self) -> int:
        """Return how many slots are not yet behind the base."""
        return len(self._slots)

    @property
    def base(self) -> int | None:
        """The offset to commit: every message below it is done; None before the first message."""
        return self._base

    @property
    def next_offset(self) -> int | None:
        """The offset from which to fetch on; None before the first message."""
        return self._next

    def follows(self, offset: int) -> bool:
        """Say whether an offset lies behind every offset opened so far, as it must while one log is read."""
        return self._next is None or offset >= self._next

    def open(self, offset: int) -> Slot | None:
        """Open a slot; None when the offset is already known: a redelivery within this process."""
        if not self.follows(offset):
            return None
        slot = Slot(offset)
        self._slots.append(slot)
        self._next = offset + 1
        if self._base is None:
            self._base = offset
        return slot

    def finish(self, slot: Slot) -> None:
        """Mark a slot done and move the base over every done slot at the head."""
        slot.done = True
        while self._slots and self._slots[0].done:
            self._base = self._slots.popleft().offset + 1
