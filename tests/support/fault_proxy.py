"""A proxy between one service and PostgreSQL that loses what a network can lose, at a message's edge.

It knows as much of the wire protocol as that takes: where messages end, which statement the client asks for, and when
the server is done with it. The worst case, and the reason for it, is the ambiguous commit: the server has committed,
and the client is cut off before it hears so. How it fails: a client or server that breaks the protocol, or leaves, ends
its own connection and no other.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from services.standalone.ports import LOOPBACK

_HEADER: Final = struct.Struct("!ci")
_LENGTH: Final = struct.Struct("!i")
_ENCRYPTION_REQUESTS: Final = (80877103, 80877104)
"""What a client sends first where it would rather have TLS, or GSSAPI; one byte answers it."""
_CANCEL_REQUEST: Final = 80877102
_IDLE: Final = b"I"


class Fault(Enum):
    """What happens to one exchange; the connection is gone afterwards."""

    LOSE_REQUEST = auto()
    """The statement never reaches the server."""
    LOSE_ANSWER = auto()
    """The server carries it out to the end, and the client never hears of it."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One statement that a client asks for, and those that its transaction asked for before; none where it is alone."""

    statement: str
    earlier: tuple[str, ...] = ()

    def commits(self, what: str) -> bool:
        """Whether the server commits a statement with this text in it before it answers."""
        ends = not self.earlier or self.statement.startswith("COMMIT")
        return ends and any(what in statement for statement in (*self.earlier, self.statement))


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that happened. ``tag`` is what the server would have said of a lost answer; None where it refused."""

    fault: Fault
    exchange: Exchange
    tag: str | None


Decide = Callable[[Exchange], Fault | None]


class FaultProxy:
    """One loopback address in front of one server; ``decide`` is asked about every exchange."""

    def __init__(self, database_url: str) -> None:
        """Describe the proxy; :func:`fault_proxy` opens it."""
        self._target = urlsplit(database_url)
        self._sessions: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._flows = asyncio.Event()
        self._flows.set()
        self.decide: Decide = lambda exchange: None
        self.strikes: list[Strike] = []

    @property
    def url(self) -> str:
        """The database's URL by way of the proxy."""
        _, _, host = self._target.netloc.rpartition("@")
        address = self._target.netloc.removesuffix(host) + f"{LOOPBACK}:{self._port}"
        return urlunsplit(self._target._replace(netloc=address))

    # -- what may happen to all connections -----------------------------------------------------------------------

    async def come_back(self) -> None:
        """Accept connections, at the same port as ever."""
        self._server = await asyncio.start_server(self._accepted, LOOPBACK, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def go_away(self) -> None:
        """Cut every connection and refuse new ones."""
        assert self._server is not None, "it is there"
        self._server.close()
        for session in (ending := set(self._sessions)):
            session.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def stall(self) -> None:
        """Let nothing pass, and cut nothing."""
        self._flows.clear()

    def resume(self) -> None:
        """Let everything pass again."""
        self._flows.set()

    # -- one connection -------------------------------------------------------------------------------------------

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            return  # one side has left: so does the other
        except asyncio.CancelledError:
            # The stream server would report it as an error of its own.
            return
        finally:
            self._sessions.discard(task)
            writer.transport.abort()

    async def _carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        startup = await _startup(client, to_client)
        server, to_server = await asyncio.open_connection(self._target.hostname, self._target.port)
        try:
            to_server.write(startup)
            if _LENGTH.unpack_from(startup, 4)[0] == _CANCEL_REQUEST:
                await to_server.drain()
                return
            session = _Session(self)
            pumps = [
                asyncio.create_task(session.requests(client, to_server)),
                asyncio.create_task(session.answers(server, to_client)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            to_server.transport.abort()

    async def pass_on(self, message: bytes, to: asyncio.StreamWriter) -> None:
        """Send a message on, now or when what stalls is over."""
        await self._flows.wait()
        to.write(message)
        await to.drain()


class _Session:
    """One client's statements, and the server's state as the client was told it."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._statements: dict[bytes, str] = {}
        self._transaction: list[str] = []
        self._status = _IDLE
        self._losing: Exchange | None = None

    async def requests(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        """Carry what the client says, until it leaves or is cut off."""
        while True:
            kind, message = await _message(client)
            exchange = self._asked(kind, message[_HEADER.size :])
            fault = self._proxy.decide(exchange) if exchange and self._losing is None else None
            if exchange and fault is Fault.LOSE_REQUEST:
                self._proxy.strikes.append(Strike(fault, exchange, None))
                return
            if fault is Fault.LOSE_ANSWER:
                self._losing = exchange
            await self._proxy.pass_on(message, server)

    def _asked(self, kind: bytes, body: bytes) -> Exchange | None:
        """Return what a message asks the server to do; None for those that only prepare it."""
        if kind == b"P":
            name, text, *_ = body.split(b"\0", 2)
            self._statements[name] = text.decode()
        elif kind == b"Q":
            return self._exchange(body.rstrip(b"\0").decode())
        elif kind == b"B":
            _, name, *_ = body.split(b"\0", 2)
            return self._exchange(self._statements[name])
        return None

    def _exchange(self, statement: str) -> Exchange:
        if self._status == _IDLE:
            self._transaction.clear()
        exchange = Exchange(statement, tuple(self._transaction))
        self._transaction.append(statement)
        return exchange

    async def answers(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Carry what the server says, until it leaves or an answer is lost."""
        tag: str | None = None
        while True:
            kind, message = await _message(server)
            if kind == b"C":
                tag = message[_HEADER.size :].rstrip(b"\0").decode()
            elif kind == b"E":
                tag = None
            elif kind == b"Z":
                self._status = message[-1:]
                if self._losing is not None:
                    self._proxy.strikes.append(Strike(Fault.LOSE_ANSWER, self._losing, tag))
                    return
            if self._losing is None:
                await self._proxy.pass_on(message, client)


async def _startup(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> bytes:
    """Return the first real packet of a connection; encryption is declined, for messages are to be read here."""
    while True:
        length = await client.readexactly(_LENGTH.size)
        packet = length + await client.readexactly(_LENGTH.unpack(length)[0] - _LENGTH.size)
        if _LENGTH.unpack_from(packet, _LENGTH.size)[0] not in _ENCRYPTION_REQUESTS:
            return packet
        to_client.write(b"N")


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return one message's type and all its bytes."""
    header = await reader.readexactly(_HEADER.size)
    kind, length = _HEADER.unpack(header)
    return kind, header + await reader.readexactly(length - _LENGTH.size)


@asynccontextmanager
async def fault_proxy(database_url: str) -> AsyncIterator[FaultProxy]:
    """Give a proxy that lets everything pass, until told otherwise."""
    proxy = FaultProxy(database_url)
    await proxy.come_back()
    try:
        yield proxy
    finally:
        if proxy._server is not None:
            await proxy.go_away()
