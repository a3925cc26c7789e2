"""How far the stages have come, as the sweeper asks it, told by the broker in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from simulation.broker import Broker


class MemoryProgress:
    """Answers for every group of one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def passed(self, group: str, topics: Sequence[str], now: datetime) -> datetime:
        """Return the time of the oldest message that a group has not committed, or ``now`` where there is none."""
        committed = self._broker.group(group, topics).committed
        oldest = now
        for topic in topics:
            for partition in self._broker.topics[topic]:
                waiting = partition.read(committed.get(partition.name, 0), 1)
                if waiting:
                    oldest = min(oldest, datetime.fromtimestamp(waiting[0].timestamp / 1000, UTC))
        return oldest
