"""Time and chance: whatever is no function of its input is asked for here.

In a service the operating system answers. A simulation answers instead for the length of a block, so that the same seed
makes the same run: see :func:`replaced`. Nothing else may replace it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import uuid_utils.compat


class Surroundings(Protocol):
    """What a process cannot work out for itself."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back, and goes on while the process is stopped."""

    def uuid7(self) -> UUID:
        """Return an id that is greater than every one before it in this process."""

    def random_bytes(self, size: int) -> bytes:
        """Return bytes that nobody can guess."""


class _Machine:
    """The operating system's answers."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def uuid7(self) -> UUID:
        return uuid_utils.compat.uuid7()

    def random_bytes(self, size: int) -> bytes:
        return os.urandom(size)


_present: Surroundings = _Machine()


def now() -> datetime:
    """Return the present moment in UTC."""
    return _present.now()


def monotonic() -> float:
    """Return seconds of a clock that never goes back.

    Not the event loop's: uvloop reads its clock once a turn, so a process that was stopped would believe it is earlier.
    """
    return _present.monotonic()


def uuid7() -> UUID:
    """Return an id that is greater than every one before it in this process."""
    return _present.uuid7()


def random_bytes(size: int) -> bytes:
    """Return bytes that nobody can guess."""
    return _present.random_bytes(size)


@contextmanager
def replaced(surroundings: Surroundings) -> Iterator[None]:
    """Let another answer for the length of a block: for simulations and tests of a single thread."""
    global _present  # noqa: PLW0603
    before, _present = _present, surroundings
    try:
        yield
    finally:
        _present = before
