"""The bench of the executor's tests. Property tests here are never judged by their speed."""

from __future__ import annotations

import asyncio

import pytest
from executor_bench import Bench, Clock
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A decided record."""
    clock = Clock()
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    return Bench(clock)
