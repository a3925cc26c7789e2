"""A dead letter: the original key, bytes and headers, unchanged, with headers that say where from and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.codes import ErrorCode

HEADER_PREFIX: Final = "waybill-"
MAX_REASON: Final = 200


def dead_letter_headers(
    original: Sequence[tuple[str, bytes]],
    *,
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    code: ErrorCode,
    reason: str,
) -> list[tuple[str, bytes]]:
    """Return the headers of a dead letter: the original ones, then ``waybill-*``.

    An original header that poses as one of ours is kept under ``original-waybill-…``. ``reason`` comes from a fixed
    list of the sender's; it never holds a value from the message.
    """
    kept = [(f"original-{name}" if name.startswith(HEADER_PREFIX) else name, value) for name, value in original]
    ours = {
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "timestamp": str(timestamp_ms),
        "code": str(code),
        "reason": reason[:MAX_REASON],
    }
    return kept + [(HEADER_PREFIX + name, value.encode()) for name, value in ours.items()]
