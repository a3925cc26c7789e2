"""What happened in a run: short lines in virtual time, and how often each kind of thing came about.

Records, claims and workers are named by the order in which they appear, so that two runs of a seed say the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final


class Trace:
    """The lines of one run, and the counts that a summary over many runs is made of."""

    def __init__(self, time: Callable[[], float]) -> None:
        self.faults: Final[Counter[str]] = Counter()
        self.situations: Final[Counter[str]] = Counter()
        self._time = time
        self._lines: list[tuple[float, str, str]] = []
        self._names: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()

    def note(self, who: str, what: str) -> None:
        """Write a line."""
        self._lines.append((self._time(), who, what))

    def fault(self, kind: str, times: int = 1) -> None:
        """Count what went wrong around the services."""
        self.faults[kind] += times

    def count(self, kind: str, times: int = 1) -> None:
        """Count a situation that the services got into."""
        self.situations[kind] += times

    def name(self, kind: str, thing: object) -> str:
        """Return the short name of a thing: its kind, and how many of that kind were seen before it."""
        key = str(thing)
        found = self._names.get(key)
        if found is None:
            self._numbers[kind] += 1
            found = self._names[key] = f"{kind}{self._numbers[kind]}"
        return found

    def known(self, thing: object) -> str | None:
        """Return the name of a thing that has one."""
        return self._names.get(str(thing))

    def text(self) -> str:
        """Return all lines."""
        return "".join(f"{time:10.3f} {who:<14} {what}\n" for time, who, what in self._lines)
