"""Durations and deadlines as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_DURATION: Final = re.compile(r"^(\d{1,9})(s|m|h|d)$")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """Return what ``90s``, ``30m``, ``24h`` or ``3d`` stands for; raises ``ValueError``."""
    match = _DURATION.match(text.strip())
    if match is None or int(match[1]) == 0:
        raise ValueError("is a number with s, m, h or d, such as 30m")
    try:
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        raise ValueError("is too long") from None


def parse_deadline(text: str, now: datetime) -> datetime:
    """Return the instant that an RFC 3339 time names, or a duration from ``now``; raises ``ValueError``."""
    if _DURATION.match(text.strip()):
        try:
            return now.astimezone(UTC).replace(microsecond=0) + parse_duration(text)
        except OverflowError:
            raise ValueError("is too far away") from None
    try:
        deadline = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("is an RFC 3339 time such as 2030-01-31T12:00:00Z, or a duration such as 24h") from None
    if deadline.tzinfo is None:
        raise ValueError("needs a time zone")
    if deadline <= now:
        raise ValueError("has passed")
    return deadline
