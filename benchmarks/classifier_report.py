"""The table of the classifier's benchmark: scores, rows beside their targets, and how they are printed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    measure: str
    figure: str
    target: str
    met: bool | None = None


@dataclass(slots=True)
class Spans:
    """Counts of one finding type."""

    gold: int = 0
    found: int = 0
    false: int = 0

    @property
    def f1(self) -> float:
        """Return the harmonic mean of precision and recall."""
        return f1(self.found, self.false, self.gold - self.found)


@dataclass(slots=True)
class Report:
    """The rows so far, and what went wrong by part."""

    rows: list[Row] = field(default_factory=list)
    misses: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def least(self, measure: str, figure: float, target: float) -> None:
        """Add a figure that should be at least its target."""
        self.rows.append(Row(measure, f"{figure:.3f}", f"≥ {target}", figure >= target))

    def most(self, measure: str, figure: float, target: float, detail: str = "") -> None:
        """Add a share that should be at most its target."""
        self.rows.append(Row(measure, f"{figure:.2%} {detail}".strip(), f"≤ {target:.1%}", figure <= target))


def f1(true: int, false: int, missed: int) -> float:
    """Return the F1 score, 0 when there is nothing to score."""
    return 2 * true / (2 * true + false + missed) if true else 0.0


def macro_f1(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Return the F1 of every gold label from ``(gold, predicted)`` pairs."""
    pairs = list(pairs)
    labels = sorted({gold for gold, _ in pairs})
    return {
        label: f1(
            sum(gold == predicted == label for gold, predicted in pairs),
            sum(predicted == label != gold for gold, predicted in pairs),
            sum(gold == label != predicted for gold, predicted in pairs),
        )
        for label in labels
    }


def mean(values: Iterable[float]) -> float:
    """Return the arithmetic mean."""
    values = list(values)
    return sum(values) / len(values)


def show(rows: Iterable[Row]) -> None:
    """Print the table."""
    for row in rows:
        mark = {None: " ", True: "✓ met    ", False: "✗ NOT MET"}[row.met]
        print(f"{mark:<10}{row.measure:<46}{row.figure:>18}   {row.target}")
