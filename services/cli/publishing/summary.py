"""What one run of `waybill publish` did, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from schemas.codes import Status

DEAD_LETTERED: Final = "dead_lettered"


@dataclass(slots=True)
class Summary:
    """Counts of lines; it grows while the run goes on, so that an interrupted run can say how far it came."""

    waited: bool = False
    format: str = ""
    lines: int = 0
    """Without empty ones."""
    published: int = 0
    """Acknowledged by the broker."""
    refused: int = 0
    """Not published, each named."""
    publish_seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    """By status of the result, and ``dead_lettered``."""
    cost_usd: Decimal = Decimal(0)
    """Of the results that came, each record once."""
    interrupted: bool = False

    @property
    def published_all(self) -> bool:
        """Whether every line that was read is accounted for."""
        return self.published + self.refused == self.lines

    @property
    def missing(self) -> int:
        """Published lines whose result did not come."""
        return self.published - self.statuses.total() if self.waited else 0

    @property
    def succeeded(self) -> bool:
        """Whether every line got what it asked for."""
        unsuccessful = self.statuses.total() - self.statuses[Status.SUCCEEDED]
        return not (self.refused or unsuccessful or self.missing or self.interrupted)

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        content: dict[str, Any] = {
            "format": self.format,
            "lines": self.lines,
            "published": self.published,
            "refused": self.refused,
            "publish_seconds": round(self.publish_seconds, 3),
            "interrupted": self.interrupted,
        }
        if self.waited:
            content |= {
                "results": {str(status): self.statuses[status] for status in (*Status, DEAD_LETTERED)},
                "missing": self.missing,
                "cost_usd": format(self.cost_usd, "f"),
            }
        return content

    def as_text(self) -> str:
        """Return the lines that people read."""
        # What was still under way when it was interrupted may have arrived.
        least = "at least " if self.interrupted and not self.published_all else ""
        lines = [f"published {least}{self.published:,} of {self.lines:,} lines in {self.publish_seconds:.1f} s"]
        if self.refused:
            lines.append(f"refused   {self.refused:,}")
        if self.waited:
            by_status = ", ".join(f"{count:,} {status}" for status, count in sorted(self.statuses.items()) if count)
            lines.append(f"results   {by_status or 'none'} (${self.cost_usd:f})")
        return "\n".join(lines)

    def advice(self) -> str:
        """Return how to get what is missing; empty where nothing is."""
        if not self.missing and not self.interrupted:
            return ""
        again = "publish the same file again with --wait: lines with an idempotency key add nothing and answer again"
        if self.missing:
            return f"{self.missing:,} results have not come; the jobs go on. `waybill record list` shows them; {again}."
        return f"Interrupted. To publish what is left and see the results, {again}."
