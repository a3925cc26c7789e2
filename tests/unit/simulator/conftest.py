"""Simulators that run inside the test's own event loop and are reached over loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from simulator_client import Client, Start

from services.standalone.simulator import SimulatorSettings, start_simulator


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a simulator with any settings; all are stopped in the end."""
    clients: list[Client] = []

    async def begin(**settings: Any) -> Client:
        ledger = settings.pop("ledger", tmp_path / f"charges-{len(clients)}.jsonl")
        simulator = await start_simulator(SimulatorSettings(ledger=ledger, latency_ms=(0, 0), **settings))
        session = aiohttp.ClientSession(simulator.url, timeout=aiohttp.ClientTimeout(total=30))
        clients.append(Client(session, simulator, ledger))
        return clients[-1]

    yield begin
    for client in clients:
        await client.session.close()
        await client.stop()


@pytest.fixture
async def client(start: Start) -> Client:
    """A simulator with the default settings, but no latency."""
    return await start()
