"""What a simulator is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MAX_LATENCY_MS = 3_600_000.0


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Where to listen, where to keep the ledger, and how the simulated models behave by default.

    ``port`` 0 takes a free one. ``latency_ms`` is the range that ordinary models draw from; ``slow_ms`` is what
    ``sim-slow`` takes. ``fault_rate`` is the share of calls, 0 to 1, that fail by the seed's choice.
    """

    ledger: Path
    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 0
    latency_ms: tuple[float, float] = (5.0, 25.0)
    slow_ms: float = 2_000.0
    fault_rate: float = 0.0
