"""Fault points: each is passed somewhere, and one that is armed strikes one process, once, where it says."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from services.runtime.faultpoints import HIT, FaultPoint

SERVICES = Path(__file__).parents[3] / "services"
MICRO_BATCHES = ["classifier.", "router.", "recorder.", "recorder.feedback_"]
OF_EVERY_MICRO_BATCH = {
    batch: {f"{batch}{name}" for name in ("polled", "stored", "produced")} for batch in MICRO_BATCHES
}
PASS_TEN_TIMES = """
import sys
from pathlib import Path
from services.runtime.faultpoints import FaultPoint, reach, watch
watch(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
for passing in range(1, 11):
    print(passing, flush=True)
    reach(FaultPoint.EXECUTOR_ANSWERED)
"""


def run(*arguments: str) -> tuple[int, int]:
    """Pass a point ten times in a process; return its status and how many passings it began."""
    done = subprocess.run(
        [sys.executable, "-c", PASS_TEN_TIMES, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, len(done.stdout.split())


def test_every_point_is_passed_in_one_place() -> None:
    sources = [file.read_text(encoding="utf-8") for file in SERVICES.rglob("*.py") if file.name != "faultpoints.py"]
    passed = Counter(name for source in sources for name in re.findall(r"reach\(FaultPoint\.([A-Z_]+)\)", source))
    expected = {point.name for point in FaultPoint if point not in set.union(*OF_EVERY_MICRO_BATCH.values())}
    assert passed == Counter(expected)


@pytest.mark.parametrize("batch", MICRO_BATCHES)
def test_every_micro_batch_has_the_points_of_a_batch(batch: str) -> None:
    assert {FaultPoint(name) for name in OF_EVERY_MICRO_BATCH[batch]}


def test_an_armed_point_strikes_at_its_passing_and_only_once(tmp_path: Path) -> None:
    armed = tmp_path / FaultPoint.EXECUTOR_ANSWERED
    armed.write_text("KILL 3")
    assert run(str(tmp_path)) == (-signal.SIGKILL, 3)
    assert [file.name for file in tmp_path.iterdir()] == [armed.name + HIT]
    assert run(str(tmp_path)) == (0, 10)


def test_another_point_that_is_armed_does_not_strike(tmp_path: Path) -> None:
    (tmp_path / FaultPoint.EXECUTOR_SPOOLED).write_text("KILL 1")
    assert run(str(tmp_path)) == (0, 10)


def test_nothing_strikes_without_a_folder() -> None:
    assert run() == (0, 10)
