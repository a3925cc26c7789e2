"""A caller of a running simulator, for its tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from simulator_shapes import Completion, Error

from services.standalone.simulator import Charge, RunningSimulator, read_ledger


class Client:
    """A caller of one running simulator; every call goes to the wire."""

    def __init__(self, session: aiohttp.ClientSession, simulator: RunningSimulator, ledger: Path) -> None:
        self.session = session
        self.ledger = ledger
        self._simulator: RunningSimulator | None = simulator

    async def stop(self) -> None:
        """Stop the simulator; a second time does nothing."""
        if self._simulator is not None:
            simulator, self._simulator = self._simulator, None
            await simulator.aclose()

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(path, json=body, headers=sent) as response:
            return response.status, await response.read(), response.headers

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(path) as response:
            return response.status, await response.json()

    async def chat(
        self, text: str = "Hello", *, model: str = "sim-ok", headers: Any = None, **options: Any
    ) -> Completion:
        status, body, _ = await self.post("/v1/chat/completions", chat_body(text, model, **options), **(headers or {}))
        assert status == 200, body
        return Completion.model_validate_json(body)

    async def error(self, body: Any, path: str = "/v1/chat/completions", **headers: str) -> tuple[int, Error, Any]:
        status, raw, received = await self.post(path, body, **headers)
        return status, Error.model_validate_json(raw), received

    async def control(self, **knob: Any) -> None:
        status, body, _ = await self.post("/sim/control", knob)
        assert status == 200, body

    async def charged(self, count: int) -> None:
        """Return once so many calls are charged; fails after 30 seconds."""
        async with asyncio.timeout(30):
            while len(self.charges()) < count:
                await self.get("/ready")

    def charges(self) -> list[Charge]:
        return read_ledger(self.ledger)


def chat_body(text: str = "Hello", model: str = "sim-ok", **options: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **options}


Start = Callable[..., Awaitable[Client]]
