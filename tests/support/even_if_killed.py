"""What has to be done although the process that began it may be killed in the midst of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_WATCH: Final = """
import os, sys
if not os.read(int(sys.argv[1]), 1):
    os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the command when the pipe ends without a word: then its only other end is gone, and so is who held it."""


@contextmanager
def even_if_killed(*command: str) -> Iterator[None]:
    """Have a command run once this process is dead, however it died, or once the block has failed.

    The command must be one that may come when all is done already. Its program is given by its full path.
    """
    reading, writing = os.pipe()
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WATCH, str(reading), *command],
        pass_fds=(reading,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(reading)
    try:
        yield
        os.write(writing, b".")
    finally:
        os.close(writing)
        watcher.wait()
