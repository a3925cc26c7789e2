"""The fault points of a stack that runs: armed one by one, and seen to strike.

A point that struck left a file behind, so a test knows that its circumstances really led there; see
:mod:`services.runtime.faultpoints` for how a point is armed.
"""

from __future__ import annotations

from pathlib import Path

from services.runtime.faultpoints import HIT, FaultPoint
from support.stack_running import until


def service_of(point: FaultPoint) -> str:
    """Return the service that passes a point."""
    return point.partition(".")[0]


class Faults:
    """The armed points of one stack, in the folder that its services look into."""

    def __init__(self, folder: Path) -> None:
        """Take the folder that ``WAYBILL_FAULT_DIR`` names; it need not exist before a point is armed."""
        self._folder = folder

    def arm(self, point: FaultPoint, action: str = "KILL", *, passing: int = 1) -> None:
        """Have the process that passes a point for the ``passing``-th time get the signal SIG``action`` there."""
        self._folder.mkdir(exist_ok=True)
        self._hit(point).unlink(missing_ok=True)
        # Renamed into place: a service never reads half of it.
        fresh = self._folder / f"{point}.new"
        fresh.write_text(f"{action} {passing}")
        fresh.rename(self._folder / point)

    def struck(self, point: FaultPoint) -> bool:
        """Return whether the point struck since it was armed."""
        return self._hit(point).exists()

    async def until_struck(self, point: FaultPoint) -> None:
        """Wait until the point has struck."""

        async def has_struck() -> bool:
            return self.struck(point)

        await until(has_struck, f"{point} strikes")

    def disarm(self) -> None:
        """Disarm every point, and forget what struck."""
        for file in self._folder.glob("*.*"):
            file.unlink(missing_ok=True)

    def _hit(self, point: FaultPoint) -> Path:
        return self._folder / f"{point}{HIT}"
