"""Folders for stacks of tests: nothing runs in one, nor is left of it, when its test or the whole run is over."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from services.standalone.stack import Stack
from support.even_if_killed import even_if_killed

_STATE: Final = "state"


@contextmanager
def stack_folder() -> Iterator[Path]:
    """Give the state folder, not yet made, of a stack; what was started in it ends with the block, or with us."""
    root = Path(tempfile.mkdtemp(prefix="waybill-tests-"))
    ending = (sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path}; import support.stack_folder as s; s.end()")
    with even_if_killed(*ending, str(root)):
        try:
            yield root / _STATE
        finally:
            _end(root)


def end() -> None:
    """End the stack in the folder that the command line names, where there is one."""
    root = Path(sys.argv[1])
    if root.exists():
        _end(root)


def _end(root: Path) -> None:
    Stack(root / _STATE).stop()
    shutil.rmtree(root)
