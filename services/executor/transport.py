"""The way out: one HTTP call, and what is known of it when it breaks.

httpx over aiohttp, called at the transport: no redirects, cookies, environment proxies or client-level retries are
wanted, and the layers that offer them cost more than the call (measured: 130 against 300 µs). A call that broke after
its bytes may have been sent is in doubt; the original aiohttp exception tells, httpx's mapping does not.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from schemas.codes import FailureClass

MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
CONNECT_TIMEOUT_S: Final = 10.0
# Shorter than common servers' own: a connection that both sides close at once looks like a lost answer.
KEEPALIVE_S: Final = 4.0
# Bodies are read as they come, undecoded; aiohttp would otherwise offer to take compressed ones.
_UNCOMPRESSED: Final = (b"accept-encoding", b"identity")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one route's calls go; parsed once."""

    url: httpx.URL
    headers: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete HTTP response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """A call without a complete response. ``failure_class`` says whether it may have been charged."""

    failure_class: FailureClass

    @property
    def in_doubt(self) -> bool:
        """Whether the provider may have run and charged the call."""
        return self.failure_class is FailureClass.TIMEOUT_SENT


class Transport:
    """A pool of connections to all providers."""

    def __init__(self, max_connections: int) -> None:
        """Allow so many calls at once."""
        context = httpx.create_ssl_context(trust_env=False)
        self._transport = AiohttpTransport(verify=context, client=lambda: _session(max_connections, context))

    async def post(
        self, endpoint: Endpoint, body: bytes, extra: tuple[bytes, bytes], timeout_s: float
    ) -> HttpAnswer | Broken:
        """Make one call and read its answer, of at most :data:`MAX_ANSWER_BYTES`, within the timeout."""
        request = httpx.Request(
            "POST",
            endpoint.url,
            headers=[*endpoint.headers, _UNCOMPRESSED, extra],
            # As a stream, read at once: aiohttp sets host and length itself, and httpx need not work them out before.
            stream=httpx.ByteStream(body),
            extensions={"timeout": {"connect": CONNECT_TIMEOUT_S}},
        )
        request.read()
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._transport.handle_async_request(request)
                try:
                    content = await _read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            return Broken(FailureClass.TIMEOUT_SENT)
        except httpx.TransportError as error:
            return Broken(_broken_class(error.__cause__))
        except aiohttp.ClientError as error:  # one that httpx has no name for: what came back is not HTTP
            return Broken(_broken_class(error))
        if content is None:
            return Broken(FailureClass.MALFORMED_ANSWER)
        return HttpAnswer(response.status_code, _plain(response.headers), content)

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


def _session(max_connections: int, context: ssl.SSLContext) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=KEEPALIVE_S, ssl=context)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _plain(headers: httpx.Headers) -> dict[str, str]:
    # httpx's own look-up decodes every header at every call.
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers.raw}


async def _read(response: httpx.Response) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.stream:  # type: ignore[union-attr]
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _broken_class(cause: BaseException | None) -> FailureClass:
    match cause:
        case aiohttp.ConnectionTimeoutError():
            return FailureClass.TIMEOUT_UNSENT
        case aiohttp.ClientConnectorError():  # no connection was made: nothing was sent
            return FailureClass.UNAVAILABLE
        case aiohttp.InvalidURL():
            return FailureClass.MODEL_GONE
    return FailureClass.TIMEOUT_SENT
