"""Finding out whose a broken message is, and where it is broken. Only what the strict parser refuses comes here."""

from __future__ import annotations

import json
import math
from typing import Any, Final

MAX_DIAGNOSED_BYTES: Final = 24 * 1024 * 1024


def lenient_object(value: bytes) -> tuple[Any, str | None]:
    """Parse what only a lenient parser accepts (NaN, lone surrogates, invalid UTF-8 inside strings).

    Returns the document and the path of the first value at fault; ``(None, None)`` where nothing can be made of it.
    """
    if len(value) > MAX_DIAGNOSED_BYTES:
        return None, None
    try:
        document = json.loads(value.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None, None
    return document, unprintable_path(document)


def unprintable_path(document: Any) -> str | None:
    """Return the path of the first NUL, lone surrogate, NaN or infinity, without recursion; None if there is none.

    A key at fault is not shown: its parent's path stands for it.
    """
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            if _is_unprintable(value):
                return path or None
        elif isinstance(value, float):
            if not math.isfinite(value):
                return path or None
        elif isinstance(value, dict):
            if any(_is_unprintable(key) for key in value):
                return path or None
            waiting += [(_join(path, _shown(key)), child) for key, child in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(_join(path, str(index)), child) for index, child in reversed(list(enumerate(value)))]
    return None


def _is_unprintable(text: str) -> bool:
    return "\0" in text or any("\ud800" <= character <= "\udfff" for character in text)


def _join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part


def _shown(key: str) -> str:
    return key if key.isidentifier() and key.isascii() and len(key) <= 64 else "?"
