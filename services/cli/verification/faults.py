"""What verification finds wrong."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One thing that does not hold, and of which entry or leaf."""

    what: str
    record_id: str | None = None
    seq: int | None = None
    leaf: int | None = None

    def __str__(self) -> str:
        place = f"record {self.record_id}, entry {self.seq}" if self.record_id else ""
        if self.leaf is not None:
            place += f"{', ' if place else ''}leaf {self.leaf:,}"
        return f"{place}: {self.what}" if place else self.what
