"""How commands speak: one JSON object with ``--json``, else plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import typer


def emit(content: Mapping[str, Any], *, json: bool, text: str) -> None:
    """Print ``content`` as one JSON object, or ``text``."""
    if json:
        typer.echo(orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z).decode())
    elif text:
        typer.echo(text)
