"""One HTTP call, and what is known of it when it breaks: unsent, in doubt, or answered with something else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from executor_raw_server import Behaviour, Exchange, RawServer, response

from schemas.codes import FailureClass
from services.executor import transport as transport_module
from services.executor.transport import MAX_ANSWER_BYTES, Broken, Endpoint, HttpAnswer, Transport

Serve = Callable[[Behaviour], Awaitable[RawServer]]

LOST = Broken(FailureClass.TIMEOUT_SENT)
CLAIM = (b"x-waybill-attempt", b"claim-1")
AMPLE_S = 30.0


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    """A pool of a few connections."""
    transport = Transport(4)
    yield transport
    await transport.close()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers, and stops them after the test."""
    servers: list[RawServer] = []

    async def started(behaviour: Behaviour) -> RawServer:
        server = RawServer(behaviour)
        await server.start()
        servers.append(server)
        return server

    yield started
    for server in servers:
        await server.stop()


async def post(transport: Transport, address: str, timeout_s: float = AMPLE_S, body: bytes = b'{"a":1}') -> object:
    """Make one call."""
    endpoint = Endpoint(
        httpx.URL(f"{address}/v1/chat/completions"),
        ((b"content-type", b"application/json"), (b"authorization", b"Bearer s")),
    )
    return await transport.post(endpoint, body, CLAIM, timeout_s)


def answering(data: bytes, *, close: bool = False) -> Behaviour:
    """Answer every request with the same bytes."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(data)
        if close:
            exchange.writer.close()

    return behave


async def hang(exchange: Exchange) -> None:
    """Never answer."""
    await asyncio.Event().wait()


# -- complete answers ---------------------------------------------------------------------------------------------


async def test_a_complete_answer_comes_back(transport: Transport, serve: Serve) -> None:
    server = await serve(answering(response(b'{"ok":1}', "X-Request-Id: r-1", "X-Odd: caf\xe9")))

    answer = await post(transport, server.address)

    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.body) == (200, b'{"ok":1}')
    assert answer.headers["x-request-id"] == "r-1"
    assert answer.headers["x-odd"] == "café"


async def test_what_is_sent_is_what_was_given(transport: Transport, serve: Serve) -> None:
    server = await serve(answering(response(b"{}")))

    await post(transport, server.address, body=b'{"messages":[]}')

    (exchange,) = server.exchanges
    assert exchange.head[0] == "POST /v1/chat/completions HTTP/1.1"
    assert exchange.body == b'{"messages":[]}'
    assert exchange.header("x-waybill-attempt") == ["claim-1"]
    assert exchange.header("authorization") == ["Bearer s"]
    assert exchange.header("content-type") == ["application/json"]


async def test_no_compressed_answer_is_invited(transport: Transport, serve: Serve) -> None:
    server = await serve(answering(response(b"{}")))

    await post(transport, server.address)

    assert server.exchanges[0].header("accept-encoding") == ["identity"]


@pytest.mark.parametrize("status", ["400 Bad Request", "429 Too Many Requests", "500 Oops", "503 Busy"])
async def test_an_error_is_an_answer_too(transport: Transport, serve: Serve, status: str) -> None:
    server = await serve(answering(response(b"no", "Retry-After: 3", status=status)))

    answer = await post(transport, server.address)

    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (int(status[:3]), b"no", "3")
    assert len(server.exchanges) == 1


async def test_a_chunked_answer_is_put_together(transport: Transport, serve: Serve) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{} \r\n2\r\n  \r\n0\r\n\r\n"
    server = await serve(answering(chunked))

    answer = await post(transport, server.address)

    assert isinstance(answer, HttpAnswer)
    assert answer.body == b"{}   "


async def test_a_redirect_is_not_followed(transport: Transport, serve: Serve) -> None:
    server = await serve(answering(response(b"", "Location: /elsewhere", status="307 Temporary Redirect")))

    answer = await post(transport, server.address)

    assert isinstance(answer, HttpAnswer)
    assert answer.status == 307
    assert len(server.exchanges) == 1


async def test_no_cookie_is_kept(transport: Transport, serve: Serve) -> None:
    server = await serve(answering(response(b"{}", "Set-Cookie: tracked=1; Path=/")))

    await post(transport, server.address)
    await post(transport, server.address)

    assert [exchange.header("cookie") for exchange in server.exchanges] == [[], []]


async def test_connections_are_used_again(transport: Transport, serve: Serve) -> None:
    server = await serve(answering(response(b"{}")))

    for _ in range(5):
        await post(transport, server.address)

    assert (len(server.exchanges), server.connections) == (5, 1)


# -- surely not sent ----------------------------------------------------------------------------------------------


async def test_a_refused_connection_was_not_sent(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    broken = await post(transport, f"http://127.0.0.1:{port}")

    assert broken == Broken(FailureClass.UNAVAILABLE)
    assert not Broken(FailureClass.UNAVAILABLE).in_doubt


async def test_a_connection_that_is_not_made_in_time_was_not_sent(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "CONNECT_TIMEOUT_S", 0.05)
    crowd: list[socket.socket] = []
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # nobody accepts: once the queue is full, connections hang
        for _ in range(8):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
            crowd.append(waiting)

        broken = await post(transport, f"http://127.0.0.1:{full.getsockname()[1]}")

    for waiting in crowd:
        waiting.close()
    assert broken == Broken(FailureClass.TIMEOUT_UNSENT)


# -- in doubt -----------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        HEAD,
        HEAD + b'{"choices":',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"\x00\x01\x02\xff" * 64,
    ],
    ids=["nothing", "half a status", "half a header", "no body", "half a body", "half a chunk", "no last chunk",
         "no chunk", "another protocol", "no status", "no header", "an endless header", "noise"],
)  # fmt: skip
async def test_an_answer_that_breaks_off_is_in_doubt_and_not_asked_for_again(
    transport: Transport, serve: Serve, data: bytes
) -> None:
    server = await serve(answering(data, close=True))

    broken = await post(transport, server.address)

    assert broken == LOST
    assert LOST.in_doubt
    assert len(server.exchanges) == 1


async def test_a_connection_reset_is_in_doubt(transport: Transport, serve: Serve) -> None:
    async def reset(exchange: Exchange) -> None:
        exchange.writer.transport.abort()

    server = await serve(reset)

    assert await post(transport, server.address) == LOST
    assert len(server.exchanges) == 1


async def test_a_kept_connection_that_breaks_is_in_doubt_and_not_tried_again(
    transport: Transport, serve: Serve
) -> None:
    async def once(exchange: Exchange) -> None:
        if exchange.number == 0:
            await exchange.send(response(b"{}"))
        else:
            exchange.writer.close()

    server = await serve(once)
    assert isinstance(await post(transport, server.address), HttpAnswer)

    assert await post(transport, server.address) == LOST
    assert (len(server.exchanges), server.connections) == (2, 1)


async def test_a_call_that_is_never_answered_is_in_doubt(transport: Transport, serve: Serve) -> None:
    server = await serve(hang)

    assert await post(transport, server.address, timeout_s=0.05) == LOST


async def test_an_answer_that_stops_in_its_middle_is_in_doubt(transport: Transport, serve: Serve) -> None:
    async def stop_in_the_middle(exchange: Exchange) -> None:
        await exchange.send(HEAD + b"{")
        await hang(exchange)

    server = await serve(stop_in_the_middle)

    assert await post(transport, server.address, timeout_s=0.05) == LOST


async def test_after_a_lost_call_the_next_one_gets_its_own_answer(transport: Transport, serve: Serve) -> None:
    async def first_is_late(exchange: Exchange) -> None:
        if exchange.number == 0:
            await hang(exchange)
        await exchange.send(response(b"second"))

    server = await serve(first_is_late)
    assert await post(transport, server.address, timeout_s=0.05, body=b"first") == LOST

    answer = await post(transport, server.address)
    assert isinstance(answer, HttpAnswer)
    assert answer.body == b"second"


async def test_being_cancelled_is_not_an_outcome(transport: Transport, serve: Serve) -> None:
    arrived = asyncio.Event()

    async def arrive(exchange: Exchange) -> None:
        arrived.set()
        await hang(exchange)

    server = await serve(arrive)
    calling = asyncio.create_task(post(transport, server.address))
    async with asyncio.timeout(AMPLE_S):
        await arrived.wait()
    calling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await calling


# -- too much -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", [0, 1])
async def test_an_answer_over_the_limit_is_malformed_and_not_read_to_its_end(
    transport: Transport, serve: Serve, monkeypatch: pytest.MonkeyPatch, over: int
) -> None:
    monkeypatch.setattr(transport_module, "MAX_ANSWER_BYTES", 100_000)
    server = await serve(answering(response(b"x" * (100_000 + over))))

    answer = await post(transport, server.address)

    if over:
        assert answer == Broken(FailureClass.MALFORMED_ANSWER)
        assert not Broken(FailureClass.MALFORMED_ANSWER).in_doubt
    else:
        assert isinstance(answer, HttpAnswer)
        assert len(answer.body) == 100_000


async def test_an_endless_answer_is_malformed(transport: Transport, serve: Serve) -> None:
    async def pour(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not exchange.writer.is_closing():
            await exchange.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n")

    server = await serve(pour)

    assert await post(transport, server.address) == Broken(FailureClass.MALFORMED_ANSWER)
    assert MAX_ANSWER_BYTES == 8 * 1024 * 1024
