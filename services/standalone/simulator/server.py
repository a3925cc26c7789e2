"""The simulator's HTTP: routing, authentication, and delivering a served call, broken deliveries included."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from pydantic import ValidationError
from uuid_utils import uuid7

from services.runtime.errors import WaybillError
from services.standalone.simulator.calls import Answer, InvalidCallError
from services.standalone.simulator.knobs import Knob
from services.standalone.simulator.ledger import Ledger, LedgerError
from services.standalone.simulator.openai_wire import OpenAIWire
from services.standalone.simulator.plan import MODELS
from services.standalone.simulator.provider import Provider, Served
from services.standalone.simulator.script import find_script
from services.standalone.simulator.settings import SimulatorSettings

SERVER_NAME: Final = "waybill-provider-simulator"
BAD_KEY: Final = "sim-bad-key"

_MAX_BODY_BYTES: Final = 64 << 20
_SHUTDOWN_GRACE_S: Final = 10.0
_GATEWAY_PAGE: Final = b"<html><body><h1>Simulated gateway page</h1></body></html>"
_ABOUT: Final = b"""Waybill provider simulator.

This is not a model provider: every answer is made up, by seed, and says so.

POST /v1/chat/completions   POST /v1/embeddings   GET /v1/models      OpenAI's format
POST /sim/control  GET /sim/control                                   change and show behaviour, by model
POST /sim/reset                                                       forget knobs and run counts
GET  /sim/ledger/summary                                              what was charged
GET  /ready                                                           200 while calls can be charged
"""


class PortTakenError(WaybillError):
    """The simulator's port is taken by another process."""

    hint = "Choose another --port, or 0 for a free one."


class SimulatorHttp:
    """One simulator's request handler; ``stopping`` ends the calls that would hang for ever."""

    def __init__(self, provider: Provider, wire: OpenAIWire) -> None:
        self._provider = provider
        self._wire = wire
        self.stopping = asyncio.Event()
        self._routes: dict[tuple[str, str], Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
            ("GET", "/"): self._about,
            ("GET", "/ready"): self._ready,
            ("GET", "/v1/models"): self._models,
            ("GET", "/sim/control"): self._show_knobs,
            ("POST", "/sim/control"): self._set_knob,
            ("POST", "/sim/reset"): self._reset,
            ("GET", "/sim/ledger/summary"): self._summary,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request; ends by cancellation where the connection is dropped instead."""
        is_call = request.path in self._wire.paths
        if request.path.startswith("/v1/") and request.headers.get("authorization") == f"Bearer {BAD_KEY}":
            return self._error(401, "Incorrect API key provided.", code="invalid_api_key")
        if is_call and request.method == "POST":
            return await self._call(request)
        if route := self._routes.get((request.method, request.path)):
            return await route(request)
        if is_call or any(path == request.path for _, path in self._routes):
            return self._error(405, f"Not allowed to {request.method} on {request.path}.", code="method_not_supported")
        return self._error(404, "The simulator has no such URL.", code="unknown_url")

    async def _call(self, request: web.BaseRequest) -> web.StreamResponse:
        started = time.monotonic()
        call_id = f"req-{uuid7().hex}"
        try:
            body = await request.read()
            wire_request = self._wire.read(request.path, body)
            call = wire_request.call()
            script = find_script(request.headers.get("x-sim-script"), call.last_user_text)
            served = await self._provider.serve(
                call, script, body, charge_id=call_id, attempt=request.headers.get("x-waybill-attempt")
            )
        except InvalidCallError as error:
            return self._error(error.status, str(error), param=error.param, code=error.code, call_id=call_id)
        except web.HTTPRequestEntityTooLarge:
            return self._error(413, "The request body is too large.", call_id=call_id)
        except LedgerError:
            return self._error(500, "The simulator's charge ledger cannot be written.", call_id=call_id)

        headers = self._wire.call_headers(call_id, time.monotonic() - started, served.rate)
        if served.answer is None:
            return self._failed(served, headers)
        return await self._deliver(request, served, served.answer, wire_request.render(served.answer), headers)

    def _failed(self, served: Served, headers: dict[str, str]) -> web.Response:
        assert served.fault is not None
        body, fault_headers = self._wire.fault(served.fault)
        return _json(body, served.fault.status, {**fault_headers, **headers})

    async def _deliver(
        self, request: web.BaseRequest, served: Served, answer: Answer, body: bytes, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        match served.fault.kind if served.fault else None:
            case "hang":
                await self.stopping.wait()
                await _drop(request)
            case "close":
                await _drop(request)
            case "truncate":
                partial = web.StreamResponse(headers={**_BASE_HEADERS, **headers})
                partial.content_length = len(body)
                await partial.prepare(request)
                await partial.write(body[: len(body) // 2])
                await _drop(request)
            case "malformed":
                broken = (body[: len(body) // 2], _GATEWAY_PAGE, b"")
                return _json(broken[int(answer.answer_id, 16) % len(broken)], 200, headers)
        return _json(body, 200, headers)

    async def _about(self, _: web.BaseRequest) -> web.Response:
        return web.Response(body=_ABOUT, headers={"server": SERVER_NAME, "content-type": "text/plain; charset=utf-8"})

    async def _ready(self, _: web.BaseRequest) -> web.Response:
        if self._provider.ledger.failure is not None:
            return _json(b'{"status":"the charge ledger cannot be written"}', 503)
        return _json(b'{"status":"ready"}')

    async def _models(self, _: web.BaseRequest) -> web.Response:
        return _json(self._wire.models(MODELS))

    async def _show_knobs(self, _: web.BaseRequest) -> web.Response:
        return _json(orjson.dumps({"knobs": [knob.model_dump() for knob in self._provider.knobs.all()]}))

    async def _set_knob(self, request: web.BaseRequest) -> web.Response:
        try:
            knob = Knob.model_validate_json(await request.read())
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            return self._error(400, first["msg"], param=".".join(map(str, first["loc"])), code="invalid_knob")
        self._provider.knobs.set(knob, time.monotonic())
        return await self._show_knobs(request)

    async def _reset(self, request: web.BaseRequest) -> web.Response:
        self._provider.reset()
        return await self._show_knobs(request)

    async def _summary(self, _: web.BaseRequest) -> web.Response:
        return _json(orjson.dumps(self._provider.ledger.totals))

    def _error(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        call_id: str | None = None,
    ) -> web.Response:
        body = self._wire.error(status, message, param=param, code=code)
        return _json(body, status, {"x-request-id": call_id or f"req-{uuid7().hex}"})


_BASE_HEADERS: Final[dict[str, str]] = {"server": SERVER_NAME, "content-type": "application/json"}


def _json(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers={**_BASE_HEADERS, **(headers or {})})


async def _drop(request: web.BaseRequest) -> NoReturn:
    """Close the connection under the request; aiohttp then cancels the handler, which is how this ends."""
    if request.transport is not None:
        request.transport.close()
    await asyncio.Event().wait()
    raise AssertionError("unreachable: the event is never set")


@dataclass(frozen=True, slots=True)
class RunningSimulator:
    """A simulator that listens at ``url``."""

    url: str
    _listener: asyncio.Server
    _http: SimulatorHttp
    _server: web.Server
    _ledger: Ledger

    async def aclose(self) -> None:
        """Take no more calls, finish those in flight within a bound, make their charges durable, release the ledger."""
        self._listener.close()
        self._http.stopping.set()
        self._server.pre_shutdown()
        await self._server.shutdown(_SHUTDOWN_GRACE_S)
        await self._ledger.close()


async def start_simulator(settings: SimulatorSettings) -> RunningSimulator:
    """Open the ledger and listen. Raises :class:`LedgerError` or :class:`PortTakenError`."""
    ledger = Ledger(settings.ledger)
    http = SimulatorHttp(Provider(settings, ledger), OpenAIWire())
    server = web.Server(
        http.handle, request_factory=_large_request, access_log=None, handler_cancellation=True, keepalive_timeout=300.0
    )
    try:
        listener = await asyncio.get_running_loop().create_server(server, settings.host, settings.port, backlog=2048)
    except OSError as error:
        await ledger.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortTakenError(f"{settings.host}:{settings.port} is taken by another process") from error
    host, port, *_ = listener.sockets[0].getsockname()
    return RunningSimulator(f"http://{f'[{host}]' if ':' in host else host}:{port}", listener, http, server, ledger)


def _large_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    loop = task.get_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY_BYTES)
