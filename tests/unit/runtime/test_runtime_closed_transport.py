"""A request over a connection whose transport is closed fails as a lost connection, under uvloop too."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from services.runtime import kafka
from services.standalone.ports import LOOPBACK


async def send_over_a_closed_transport() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, LOOPBACK, 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        connection = AIOKafkaConnection(LOOPBACK, 1)
        connection._reader, connection._writer = reader, writer
        connection._read_task = asyncio.ensure_future(reader.read())
        connection._versions = {3: (0, 5)}
        writer.transport.abort()
        await asyncio.sleep(0)  # the transport is closed in the loop's next turn
        try:
            await connection.send(MetadataRequest([]))
        finally:
            assert not connection.connected()


async def test_it_is_a_lost_connection() -> None:
    assert kafka.METADATA_MAX_AGE_MS, "importing our Kafka mends aiokafka"
    with pytest.raises(KafkaConnectionError):
        await asyncio.to_thread(uvloop.run, send_over_a_closed_transport())
