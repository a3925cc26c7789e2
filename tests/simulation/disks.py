"""The machines' disks: real files in a folder of the run, opened by simulated processes.

A process that dies gives back its descriptors, and with them its locks, as the kernel sees to it. Nothing is synced:
what was written survives the death of a process; the death of a machine is not simulated.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from services.executor import recovery, spool
from simulation.loop import PROCESS, Owner

_MEMORY = Path("/dev/shm")


class Disks:
    """What the executor's spool and its recovery know as ``os``: the real one, that remembers who opened a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[int, Owner | None] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        """Open a file for the process whose turn it is."""
        descriptor = os.open(path, flags, mode)
        self._open[descriptor] = PROCESS.get()
        return descriptor

    def close(self, descriptor: int) -> None:
        """Close a file that is open: what was a dead process's is closed already."""
        if self._open.pop(descriptor, None) is not None:
            os.close(descriptor)

    def fsync(self, descriptor: int) -> None:
        """Take it for synced."""

    def died(self, process: Owner) -> None:
        """Close what a process had open."""
        for descriptor in [descriptor for descriptor, owner in self._open.items() if owner is process]:
            self.close(descriptor)

    def close_all(self) -> None:
        """Close everything."""
        for descriptor in list(self._open):
            self.close(descriptor)


@contextmanager
def disks() -> Iterator[Disks]:
    """Give the disks of one run, and remove them after it."""
    folder = Path(tempfile.mkdtemp(prefix="waybill-simulation-", dir=_MEMORY if _MEMORY.is_dir() else None))
    made = Disks(folder)
    try:
        with ExitStack() as stack:
            for module in (spool, recovery):
                stack.enter_context(mock.patch.object(module, "os", made))
            yield made
    finally:
        made.close_all()
        shutil.rmtree(folder)
