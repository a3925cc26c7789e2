"""The fault proxy: what passes, what is lost on which side, and what the client and the server then believe."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from support.fault_proxy import Exchange, Fault, FaultProxy, Strike, fault_proxy

from services.standalone.ports import LOOPBACK

PATIENCE_S = 120.0
"""Longer than anything here takes; only a bug waits for it."""
STARTUP = 196608
SSL_REQUEST, CANCEL_REQUEST = 80877103, 80877102


def packet(code: int, rest: bytes = b"") -> bytes:
    return struct.pack("!ii", 8 + len(rest), code) + rest


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", 4 + len(body)) + body


def query(text: str) -> bytes:
    return message(b"Q", text.encode() + b"\0")


def bound(name: str) -> bytes:
    return message(b"B", b"\0" + name.encode() + b"\0" + bytes(6)) + message(b"E", bytes(5)) + message(b"S")


class Server:
    """Answers the protocol's messages as PostgreSQL does, and remembers what reached it."""

    def __init__(self) -> None:
        self.startups: list[int] = []
        self.heard: list[bytes] = []
        self.leaves_at: bytes | None = None
        self.changed = asyncio.Condition()
        self._status = b"I"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length, code = struct.unpack("!ii", await reader.readexactly(8))
        await reader.readexactly(length - 8)
        await self._remember(self.startups, code)
        if code == CANCEL_REQUEST:
            return
        writer.write(message(b"Z", self._status))
        while True:
            kind, size = struct.unpack("!ci", await reader.readexactly(5))
            body = await reader.readexactly(size - 4)
            await self._remember(self.heard, kind + body)
            if kind == self.leaves_at:
                return
            writer.write(self._answer(kind, body))

    def _answer(self, kind: bytes, body: bytes) -> bytes:
        if kind == b"Q":
            word = body.split()[0].strip(b";\0")
            if word == b"FAIL":
                return message(b"E", b"SERROR\0\0") + message(b"Z", self._status)
            self._status = {b"BEGIN": b"T", b"COMMIT": b"I"}.get(word, self._status)
            return message(b"C", word + b"\0") + message(b"Z", self._status)
        return {b"P": message(b"1"), b"B": message(b"2"), b"E": message(b"C", b"INSERT 0 1\0")}.get(
            kind, message(b"Z", self._status)
        )

    async def _remember(self, where: list[Any], what: object) -> None:
        async with self.changed:
            where.append(what)
            self.changed.notify_all()

    async def until_begun(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S), self.changed:
            await self.changed.wait_for(lambda: len(self.startups) >= count)


class Client:
    """One connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, *messages: bytes) -> bytes:
        """Send messages; return all that comes up to and with the server's being ready, or up to the end."""
        self.writer.write(b"".join(messages))
        return await self.answer()

    async def answer(self) -> bytes:
        found = b""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while True:
                    header = await self.reader.readexactly(5)
                    rest = await self.reader.readexactly(struct.unpack("!ci", header)[1] - 4)
                    found += header + rest
                    if header[:1] == b"Z":
                        return found
            except (asyncio.IncompleteReadError, ConnectionError):
                return found

    async def is_cut_off(self) -> bool:
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True


@dataclass
class Line:
    """A server, the proxy before it, and its clients."""

    server: Server
    proxy: FaultProxy
    clients: list[Client] = field(default_factory=list)

    async def raw(self) -> Client:
        port = urlsplit(self.proxy.url).port
        client = Client(*await asyncio.open_connection(LOOPBACK, port))
        self.clients.append(client)
        return client

    async def connect(self) -> Client:
        client = await self.raw()
        assert await client.ask(packet(STARTUP)) == READY
        return client


READY = message(b"Z", b"I")


@pytest_asyncio.fixture
async def line() -> AsyncIterator[Line]:
    server = Server()
    listening = await asyncio.start_server(server.serve, LOOPBACK, 0)
    port = listening.sockets[0].getsockname()[1]
    async with fault_proxy(f"postgresql://user:secret@{LOOPBACK}:{port}/base") as proxy:
        line = Line(server, proxy)
        yield line
        for client in line.clients:
            client.writer.close()
    listening.close()


def strike(at: str, fault: Fault) -> Callable[[Exchange], Fault | None]:
    return lambda exchange: fault if exchange.statement == at else None


async def test_the_url_differs_in_nothing_but_the_address(line: Line) -> None:
    url = urlsplit(line.proxy.url)
    assert (url.scheme, url.username, url.password, url.path) == ("postgresql", "user", "secret", "/base")


async def test_everything_passes_until_told_otherwise(line: Line) -> None:
    client = await line.connect()
    assert await client.ask(query("SELECT 1")) == message(b"C", b"SELECT\0") + READY
    assert await client.ask(message(b"P", b"s1\0SELECT 2\0\0\0"), message(b"S")) == message(b"1") + READY
    assert line.server.startups == [STARTUP]
    assert line.server.heard == [b"QSELECT 1\0", b"Ps1\0SELECT 2\0\0\0", b"S"]
    assert line.proxy.strikes == []


async def test_encryption_is_declined_and_the_connection_goes_on(line: Line) -> None:
    client = await line.raw()
    client.writer.write(packet(SSL_REQUEST))
    async with asyncio.timeout(PATIENCE_S):
        assert await client.reader.readexactly(1) == b"N"
    assert await client.ask(packet(STARTUP)) == READY
    assert line.server.startups == [STARTUP]


async def test_a_request_to_cancel_reaches_the_server(line: Line) -> None:
    client = await line.raw()
    client.writer.write(packet(CANCEL_REQUEST, bytes(8)))
    assert await client.is_cut_off()
    assert line.server.startups == [CANCEL_REQUEST]


async def test_a_lost_request_never_reaches_the_server(line: Line) -> None:
    client = await line.connect()
    line.proxy.decide = strike("COMMIT;", Fault.LOSE_REQUEST)
    await client.ask(query("BEGIN;"))
    assert await client.ask(query("COMMIT;")) == b""
    assert line.server.heard == [b"QBEGIN;\0"]
    assert line.proxy.strikes == [Strike(Fault.LOSE_REQUEST, Exchange("COMMIT;", ("BEGIN;",)), None)]


async def test_a_lost_answer_is_one_that_the_server_gave(line: Line) -> None:
    client = await line.connect()
    line.proxy.decide = strike("COMMIT;", Fault.LOSE_ANSWER)
    await client.ask(query("BEGIN;"))
    assert await client.ask(query("COMMIT;")) == b"", "not a byte of it"
    assert line.server.heard == [b"QBEGIN;\0", b"QCOMMIT;\0"]
    assert line.proxy.strikes == [Strike(Fault.LOSE_ANSWER, Exchange("COMMIT;", ("BEGIN;",)), "COMMIT")]


async def test_what_the_server_refused_is_told_apart_from_what_it_did(line: Line) -> None:
    client = await line.connect()
    line.proxy.decide = strike("FAIL;", Fault.LOSE_ANSWER)
    assert await client.ask(query("FAIL;")) == b""
    assert [found.tag for found in line.proxy.strikes] == [None]


async def test_a_prepared_statement_is_known_by_its_name_and_worked_off_to_the_end(line: Line) -> None:
    client = await line.connect()
    await client.ask(message(b"P", b"s1\0INSERT 1\0\0\0"), message(b"S"))
    await client.ask(message(b"P", b"s2\0INSERT 2\0\0\0"), message(b"S"))
    line.proxy.decide = strike("INSERT 1", Fault.LOSE_ANSWER)
    assert await client.ask(bound("s2")) == message(b"2") + message(b"C", b"INSERT 0 1\0") + READY
    assert await client.ask(bound("s1")) == b""
    assert line.server.heard[-1] == b"S", "the server was asked to finish"
    assert line.proxy.strikes == [Strike(Fault.LOSE_ANSWER, Exchange("INSERT 1"), "INSERT 0 1")]


async def test_a_cut_touches_no_other_connection(line: Line) -> None:
    one, other = await line.connect(), await line.connect()
    line.proxy.decide = strike("SELECT 1", Fault.LOSE_ANSWER)
    assert await one.ask(query("SELECT 1")) == b""
    assert await other.ask(query("SELECT 2")) == message(b"C", b"SELECT\0") + READY


async def test_a_server_that_leaves_takes_its_client_along(line: Line) -> None:
    client = await line.connect()
    line.server.leaves_at = b"Q"
    assert await client.ask(query("SELECT 1")) == b""


async def test_away_it_refuses_and_back_it_is_where_it_was(line: Line) -> None:
    client = await line.connect()
    url = line.proxy.url
    await line.proxy.go_away()
    assert await client.is_cut_off()
    with pytest.raises(ConnectionRefusedError):
        await line.raw()
    await line.proxy.come_back()
    assert line.proxy.url == url
    await line.connect()


async def test_a_stall_holds_everything_back_and_loses_nothing(line: Line) -> None:
    client = await line.connect()
    line.proxy.stall()
    client.writer.write(query("SELECT 1"))
    other = await line.raw()
    other.writer.write(packet(STARTUP))
    await line.server.until_begun(2)  # its start passes, and what follows does not
    assert line.server.heard == []
    line.proxy.resume()
    assert await client.answer() == message(b"C", b"SELECT\0") + READY
    assert await other.answer() == READY


@pytest.mark.parametrize(
    ("exchange", "commits"),
    [
        (Exchange("INSERT"), True),
        (Exchange("COMMIT;", ("BEGIN;", "INSERT")), True),
        (Exchange("COMMIT;", ("BEGIN;", "DELETE")), False),
        (Exchange("INSERT", ("BEGIN;",)), False),
        (Exchange("ROLLBACK;", ("BEGIN;", "INSERT")), False),
        (Exchange("DELETE"), False),
    ],
)
def test_which_exchanges_commit_an_insert(exchange: Exchange, commits: bool) -> None:
    assert exchange.commits("INSERT") is commits


async def test_a_transaction_is_told_from_its_begin_to_its_end(line: Line) -> None:
    client = await line.connect()
    asked: list[Exchange] = []
    line.proxy.decide = asked.append  # type: ignore[assignment]
    for text in ("BEGIN;", "INSERT 1", "COMMIT;", "INSERT 2"):
        await client.ask(query(text))
    assert [exchange.earlier for exchange in asked] == [(), ("BEGIN;",), ("BEGIN;", "INSERT 1"), ()]
