"""What a linter finds: where, how bad, what is wrong in words, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from services.policy.places import Place

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. An ``error`` keeps a job from being handled as its rules say; a ``warning`` may be meant."""

    level: Level
    code: str
    subject: str
    """The rule, model or alias that it is about, or ``bundle``."""
    text: str
    hint: str
    place: Place | None = None

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"{where}{self.level}: {self.subject}: {self.text} [{self.code}]\n    next: {self.hint}"

    def as_json(self) -> dict[str, Any]:
        """Return the finding as JSON."""
        place = self.place
        return {
            "level": self.level,
            "code": self.code,
            "subject": self.subject,
            "text": self.text,
            "hint": self.hint,
            "file": place.file if place else None,
            "line": place.line if place else None,
            "column": place.column if place else None,
        }
