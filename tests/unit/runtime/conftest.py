"""What the runtime's tests share. Property tests here are never judged by their speed."""

from __future__ import annotations

import pytest
from hypothesis import settings
from runtime_memory_consumer import MemoryConsumer
from runtime_sliding_desk import P0, P1, Desk

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def desk() -> Desk:
    """The work."""
    return Desk()


@pytest.fixture
def broker() -> MemoryConsumer:
    """Two partitions of ten messages each."""
    return MemoryConsumer({P0: list(range(10)), P1: list(range(10))})
