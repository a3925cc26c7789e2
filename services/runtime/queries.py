"""Named SQL: every statement stands in a ``.sql`` file, described, under ``-- name: …``; none in Python strings."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load(file: str) -> dict[str, str]:
    """Return the statements of ``schemas/sql/queries/{file}.sql`` by name; parameters are ``$1`` and so on.

    Raises ``FileNotFoundError`` for an unknown file and ``ValueError`` for a name that stands twice.
    """
    text = resources.files("schemas.sql").joinpath("queries", f"{file}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{file}.sql names a statement twice")
    return dict(zip(names, (body.strip() for body in bodies), strict=True))
