"""A spool in memory: what was being recorded when a process died."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.executor.in_hand import InHand


class MemorySpool:
    """Keeps the answers whose recording was cut off."""

    def __init__(self) -> None:
        self.kept: list[InHand] = []
        self.at_once: list[bool] = []

    @asynccontextmanager
    async def keeping(self, answer: InHand, *, at_once: bool) -> AsyncIterator[None]:
        """Keep the answer where the body fails."""
        self.at_once.append(at_once)
        try:
            yield
        except BaseException:
            self.kept.append(answer)
            raise
