"""A server that answers with bytes as given, right or wrong, over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

Behaviour = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request, and the way back."""

    head: list[str]
    body: bytes
    writer: asyncio.StreamWriter
    number: int

    def header(self, name: str) -> list[str]:
        """Return every value of a request header."""
        lines = (line.partition(":") for line in self.head[1:])
        return [value.strip() for found, _, value in lines if found.lower() == name]

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        with suppress(ConnectionError):
            await self.writer.drain()


@dataclass
class RawServer:
    """Reads requests and leaves the answer to the behaviour set."""

    behaviour: Behaviour
    exchanges: list[Exchange] = field(default_factory=list)
    connections: int = 0
    address: str = ""
    _server: asyncio.Server | None = None
    _handlers: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen at :attr:`address`."""
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0, limit=2**20)
        self.address = f"http://localhost:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        if self._handlers:
            await asyncio.wait(self._handlers)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.connections += 1
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()[:-1]
                exchange = Exchange(head, b"", writer, len(self.exchanges))
                exchange.body = await reader.readexactly(int((exchange.header("content-length") or ["0"])[0]))
                self.exchanges.append(exchange)
                await self.behaviour(exchange)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._handlers.discard(task)


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
