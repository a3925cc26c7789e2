"""The bare floor: what the hops of the pipeline cost without any of its logic.

Four processes, each doing what a stage cannot do without: poll up to 500 messages, store one row for each in one
statement, send each on, wait for the acknowledgements, commit. The third calls the provider for each message, all calls
of a batch at once. No detectors, no policy, no chain, no keys, no claims: how far Waybill is from this, its guarantees
and its Python cost. :mod:`benchmarks.pipeline` runs both side by side; this file is what it starts:

    python -m benchmarks.floor HOP
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import aiohttp
import asyncpg
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import NewTopic

from benchmarks.harness import BenchmarkError, statements
from services.runtime.ids import new_record_id
from services.runtime.settings import Settings
from services.runtime.topics import open_admin

TOPICS: Final = ("floor.requests", "floor.hop1", "floor.hop2", "floor.hop3", "floor.results")
"""Hop n reads topic n - 1 and writes topic n."""
HOPS: Final = (1, 2, 3, 4)
CALLING_HOP: Final = 3
PARTITIONS: Final = 12
BATCH: Final = 500
ROW_BYTES: Final = 600
MAX_CALLS: Final = 1_000
SQL: Final = statements(Path(__file__).parent / "sql" / "floor.sql")


async def create(settings: Settings) -> None:
    """Make the floor's table and topics."""
    connection = await asyncpg.connect(settings.database_url)
    try:
        await connection.execute(SQL["create"])
    finally:
        await connection.close()
    admin = await open_admin(settings)
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in TOPICS])
    finally:
        await admin.close()


class Provider:
    """Calls the provider simulator as plainly as it can be done."""

    def __init__(self, url: str) -> None:
        """Take the simulator's address."""
        self._url = f"{url}/v1/chat/completions"
        self._session = aiohttp.ClientSession(
            headers={"Content-Type": "application/json", "Authorization": "Bearer floor"},
            connector=aiohttp.TCPConnector(limit=MAX_CALLS),
        )

    async def call_all(self, messages: Sequence[dict[str, Any]]) -> None:
        """Make one call for each message, all at once; raises :class:`BenchmarkError` where one is not answered."""
        await asyncio.gather(*map(self._call, messages))

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def _call(self, message: dict[str, Any]) -> None:
        body = orjson.dumps({"model": "sim-ok", "messages": message["messages"]})
        async with self._session.post(self._url, data=body) as response:
            await response.read()
            if response.status != 200:
                raise BenchmarkError(f"the simulator answered {response.status}")


class Hop:
    """One stage with nothing in it. Fails by ending: its supervisor says so."""

    def __init__(self, number: int, settings: Settings, simulator_url: str) -> None:
        """Describe hop ``number``, 1 to 4."""
        servers = settings.kafka_bootstrap_servers
        self._number = number
        self._dsn = settings.database_url
        self._consumer = AIOKafkaConsumer(
            TOPICS[number - 1],
            bootstrap_servers=servers,
            group_id=f"floor.hop{number}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        self._producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_batch_size=512 * 1024)
        self._provider = Provider(simulator_url) if number == CALLING_HOP else None

    async def run(self) -> None:
        """Pass messages on until cancelled."""
        connection = await asyncpg.connect(self._dsn)
        await self._producer.start()
        await self._consumer.start()
        try:
            while True:
                fetched = await self._consumer.getmany(timeout_ms=100, max_records=BATCH)
                values = [record.value for records in fetched.values() for record in records]
                if values:
                    await self._pass_on(connection, values)
                    await self._consumer.commit()
        finally:
            await self._consumer.stop()
            await self._producer.stop()
            if self._provider is not None:
                await self._provider.close()
            await connection.close()

    async def _pass_on(self, connection: asyncpg.Connection[Any], values: Sequence[bytes]) -> None:
        messages = [orjson.loads(value) for value in values]
        keys = [message["idempotency_key"] for message in messages]
        await connection.execute(
            SQL["insert"],
            [new_record_id() for _ in keys],
            [UUID(key) for key in keys],
            self._number,
            [value[:ROW_BYTES] for value in values],
        )
        if self._provider is not None:
            await self._provider.call_all(messages)
        topic = TOPICS[self._number]
        acknowledged = [
            await self._producer.send(topic, key=key.encode(), value=orjson.dumps(message))
            for key, message in zip(keys, messages, strict=True)
        ]
        await asyncio.gather(*acknowledged)


async def _serve(hop: Hop) -> None:
    passing = asyncio.ensure_future(hop.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, passing.cancel)
    await asyncio.wait([passing])
    if not passing.cancelled():
        passing.result()


async def _main() -> None:
    await _serve(Hop(int(sys.argv[1]), Settings.load(), os.environ["WAYBILL_SIMULATOR_URL"]))


if __name__ == "__main__":
    uvloop.run(_main())
