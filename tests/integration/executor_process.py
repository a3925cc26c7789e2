"""One executor process without Kafka: real database, lease and spool; one provider that answers when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
from support import sql
from support.flow import chain_of

from schemas.decision import Orders, Route
from schemas.entries import Usage
from schemas.messages import Routed
from services.executor.adapter import Answer, WireRequest
from services.executor.recording import Recording
from services.executor.recovery import Recovery
from services.executor.routes import CallResult
from services.executor.spool import Spool
from services.executor.store import Store
from services.executor.work import Tools, Work
from services.runtime.host import Host
from services.runtime.ids import now
from services.runtime.kafka import Outgoing
from services.runtime.lease import Lease

_SQL = sql.load("executor")
PATIENCE_S: Final = 120.0
TEXT: Final = "Bonjour du fjord."
COST: Final = Decimal("0.0042")


class Provider:
    """The one provider: says when it is called, and answers when it may."""

    def __init__(self) -> None:
        self.called, self.answers = asyncio.Event(), asyncio.Event()
        self.calls = 0

    def knows(self, route: Route) -> bool:
        """Every route is known."""
        return True

    def request(self, job: Mapping[str, Any], orders: Orders, route: Route) -> WireRequest:
        """Return any request."""
        return WireRequest("/chat/completions", b"{}")

    def worst_case(self, route: Route, input_tokens: int, max_output_tokens: int) -> Decimal:
        """Return what it costs."""
        return COST

    def cost(self, route: Route, usage: Usage) -> Decimal:
        """Return what it costs."""
        return COST

    async def call(self, request: WireRequest, route: Route, claim: UUID, *, timeout_s: float) -> CallResult:
        """Answer once it may."""
        self.calls += 1
        self.called.set()
        await self.answers.wait()
        usage = Usage(input_tokens=5, cached_input_tokens=0, output_tokens=7, reasoning_tokens=0)
        output = {"choices": [{"message": {"role": "assistant", "content": TEXT}}]}
        return CallResult(Answer(output, TEXT, usage, "stop", "small-1"), 200, "r-1")


class Process:
    """An executor process."""

    def __init__(self, host: Host, folder: Path, provider: Provider, *, lease_s: float = 20.0) -> None:
        """Wire it as the service does."""
        routes: Any = provider
        self.host = host
        self.sent: list[Outgoing] = []
        self.lease = Lease(host.pool, host.telemetry, seconds=lease_s)
        self.spool = Spool(folder, self.lease.worker, host.telemetry)
        self.store = Store(host.pool, host.keyring, host.telemetry)
        self.recording = Recording(self.store, self.spool, host.telemetry)
        self.recovery = Recovery(folder, self.recording, self.store, host.wakeups, self._send, host.telemetry)
        self._tools = Tools(
            store=self.store,
            recording=self.recording,
            routes=routes,
            lease=self.lease,
            wakeups=host.wakeups,
            clock=now,
            jitter=lambda: 0.0,
            attempt_timeout_s=60.0,
            in_doubt_cap_usd=lambda tenant: Decimal(1),
            own_rules=lambda tenant: None,
            count=lambda event: None,
        )

    async def work(self, record_id: UUID) -> Outgoing | None:
        """Carry a record on from the message that its chain calls for."""
        message = self.host.wakeups.for_chain(await chain_of(self.host, record_id))
        assert message is not None
        return await self.carry(message)

    async def carry(self, message: Outgoing) -> Outgoing | None:
        """Carry a record on from a message."""
        return await Work(self._tools, Routed.model_validate_json(message.value or b"")).run()

    async def die(self) -> None:
        """End what works in the background, as death does; the file is left to whoever comes next."""
        for flush in [*self.store._appender._tasks, *self.store._reader._tasks]:
            flush.cancel()
        await self.spool.close()
        await self.lease.stop(release=False)

    async def _send(self, message: Outgoing) -> None:
        self.sent.append(message)


@asynccontextmanager
async def database_away(server_url: str, database_url: str) -> AsyncIterator[None]:
    """Let nobody reach one database of a server for the length of a block, whoever is connected."""
    name = urlsplit(database_url).path.lstrip("/")
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(_SQL["refuse_connections"].format(name=name))
        await connection.execute(_SQL["end_sessions"], name)
        yield
    finally:
        await connection.execute(_SQL["take_connections"].format(name=name))
        await connection.close()
