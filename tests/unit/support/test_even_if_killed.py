"""What has to be done is done however the process ends, and not done where it has been."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest
from support.even_if_killed import even_if_killed

PATIENCE_S: Final = 120
_TESTS: Final = Path(__file__).parents[2]
_HOLDS: Final = """
import sys
from support.even_if_killed import even_if_killed
with even_if_killed(*sys.argv[1:]):
    print("begun", flush=True)
    sys.stdin.read()
"""


def _touch(file: Path) -> tuple[str, ...]:
    return sys.executable, "-c", f"import pathlib; pathlib.Path({str(file)!r}).touch()"


def _is_made(file: Path) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return file.exists()


def test_a_killed_process_has_it_done(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _HOLDS, *_touch(tmp_path / "done")]
    with subprocess.Popen(command, cwd=_TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"begun\n"
        assert not (tmp_path / "done").exists()
        holder.kill()
    assert _is_made(tmp_path / "done")


def test_a_block_that_fails_has_it_done(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), even_if_killed(*_touch(tmp_path / "done")):
        raise KeyboardInterrupt
    assert (tmp_path / "done").exists(), "it is waited for"


def test_a_block_that_ends_has_done_it_itself(tmp_path: Path) -> None:
    with even_if_killed(*_touch(tmp_path / "done")):
        assert not (tmp_path / "done").exists()
    assert not (tmp_path / "done").exists()
