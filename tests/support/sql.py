"""The tests' own SQL: named statements in ``tests/support/sql/*.sql``, as the services have theirs."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load(file: str) -> dict[str, str]:
    """Return the statements of one file by name; ``{name}`` in one is filled in with ``str.format``."""
    parts = _NAME.split((_FOLDER / f"{file}.sql").read_text(encoding="utf-8"))[1:]
    return dict(zip(parts[::2], (body.strip() for body in parts[1::2]), strict=True))
