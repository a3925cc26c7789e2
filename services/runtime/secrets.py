"""Secrets by name: read anew when their file changes, and in no exception or log."""

from __future__ import annotations

import os
from pathlib import Path


class Secrets:
    """Secrets by name: a file in the secrets folder, read again when it changes, else the environment."""

    def __init__(self, folder: Path | None) -> None:
        """Look in ``folder`` first."""
        self._folder = folder
        self._read: dict[str, tuple[int, str]] = {}

    def get(self, name: str) -> str | None:
        """Return a secret; None where there is none of that name."""
        if self._folder is not None:
            file = self._folder / name
            try:
                changed = file.stat().st_mtime_ns
                if name not in self._read or self._read[name][0] != changed:
                    self._read[name] = (changed, file.read_text(encoding="utf-8").strip())
            except OSError:
                return os.environ.get(name)
            return self._read[name][1]
        return os.environ.get(name)
