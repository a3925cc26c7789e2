"""One service process: what every service stands on, its health endpoint, its start and its graceful stop.

States: connecting (fails with a clear error before anything is consumed), running, stopping (no new work, running work
ends, offsets are committed), stopped. A fatal error stops the process with status 1; its supervisor starts it again.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import asyncpg
import uvicorn
from faststream.asgi import AsgiFastStream, AsgiResponse
from faststream.kafka import KafkaBroker
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.runtime import faultpoints, queries
from services.runtime.errors import WaybillError
from services.runtime.kafka import BrokerUnreachableError, Producer, by_record, make_broker
from services.runtime.keyring import PostgresKeyring
from services.runtime.master_keys import MasterKeys
from services.runtime.migrate import require_current
from services.runtime.postgres import open_pool
from services.runtime.settings import Settings
from services.runtime.telemetry import Telemetry, configure_logging, describe
from services.runtime.tenant_keys import TenantKeys
from services.runtime.tenants import TenantRegistry
from services.runtime.wakeup import Wakeups

STUCK_AFTER_S: Final = 120.0
_SQL = queries.load("host")


class ServiceFailedError(WaybillError):
    """The service stopped because of an error it could not go on after."""

    hint = "What was not committed comes again when the service starts; the log line before this one names the error."


class AddressTakenError(WaybillError):
    """The address of the health endpoint is in use."""

    hint = "Set WAYBILL_HTTP_ADDR to a free host:port."


@dataclass(slots=True)
class Host:
    """What a service is given."""

    service: str
    settings: Settings
    telemetry: Telemetry
    broker: KafkaBroker
    producer: Producer
    pool: asyncpg.Pool[Any]
    keyring: PostgresKeyring
    tenant_keys: TenantKeys
    wakeups: Wakeups
    tenants: TenantRegistry
    failure: asyncio.Future[BaseException]
    background: set[asyncio.Task[None]] = field(default_factory=set)
    unready: dict[str, str] = field(default_factory=dict)
    """Why the service should be looked at, by what found out; while there is a reason, ``/ready`` answers 503."""

    def fail(self, error: BaseException) -> None:
        """End the process: the service cannot go on."""
        if not self.failure.done():
            self.failure.set_result(error)

    def run_in_background(self, work: Callable[[], Any]) -> None:
        """Run a loop for the life of the service; its end, unless by stopping, ends the service."""

        async def guarded() -> None:
            try:
                await work()
            except Exception as error:
                self.fail(error)

        task = asyncio.create_task(guarded())
        self.background.add(task)
        task.add_done_callback(self.background.discard)


class Service(Protocol):
    """A stage wired to its host. Consumers are registered with the broker when it is made."""

    async def start(self) -> None:
        """Begin background work; the broker has started."""

    async def stop(self) -> None:
        """End background work; consumers are still connected."""

    def last_poll(self) -> float:
        """Return the ``time.monotonic()`` of the last poll of the service's consumer."""


@asynccontextmanager
async def open_host(service: str, settings: Settings) -> AsyncIterator[Host]:
    """Connect all that a service stands on; raises a :class:`WaybillError` that says what does not answer."""
    telemetry = Telemetry(service)
    masters = MasterKeys.of(settings)
    pool = await open_pool(settings.database_url, service=service)
    separate = settings.keyring_database_url
    keys = await open_pool(separate, service=service) if separate else pool
    producer = Producer(settings, service, partitioner=by_record)
    try:
        await require_current(pool)
        unready: dict[str, str] = {}
        tenants = TenantRegistry(pool, telemetry, unready)
        await tenants.refresh()
        await producer.start()
        yield Host(
            service=service,
            settings=settings,
            telemetry=telemetry,
            broker=make_broker(settings, service),
            producer=producer,
            pool=pool,
            keyring=PostgresKeyring(keys, masters),
            tenant_keys=TenantKeys(keys, masters),
            wakeups=Wakeups(settings, tenants),
            tenants=tenants,
            failure=asyncio.get_running_loop().create_future(),
            unready=unready,
        )
    finally:
        await producer.stop()
        if keys is not pool:
            await keys.close()
        await pool.close()


def _routes(host: Host, service: Service) -> list[tuple[str, Any]]:
    async def live() -> AsgiResponse:
        silent = time.monotonic() - service.last_poll()
        stuck = silent > STUCK_AFTER_S or host.failure.done()
        return AsgiResponse(b"stuck\n" if stuck else b"ok\n", 503 if stuck else 200)

    async def ready() -> AsgiResponse:
        try:
            async with asyncio.timeout(2):
                await host.pool.fetchval(_SQL["ping"])
                connected = await host.broker.ping(timeout=2.0)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return AsgiResponse(f"{type(error).__name__}\n".encode(), 503)
        consuming = all(getattr(subscriber, "consumer", None) is not None for subscriber in host.broker.subscribers)
        if not (connected and consuming):
            return AsgiResponse(b"Kafka does not answer\n", 503)
        reasons = "".join(f"{reason}\n" for reason in host.unready.values())
        return AsgiResponse(reasons.encode() or b"ok\n", 503 if reasons else 200)

    async def metrics() -> AsgiResponse:
        return AsgiResponse(generate_latest(host.telemetry.registry), 200, {"Content-Type": CONTENT_TYPE_LATEST})

    return [("/live", _endpoint(live)), ("/ready", _endpoint(ready)), ("/metrics", _endpoint(metrics))]


def _endpoint(answer: Callable[[], Awaitable[AsgiResponse]]) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        response = await answer()
        await response(scope, receive, send)

    return application


async def serve(name: str, settings: Settings, wire: Callable[[Host], Service]) -> None:
    """Run one service until it is told to stop (SIGTERM, SIGINT); raises :class:`ServiceFailedError` when it breaks."""
    configure_logging(name, fmt=settings.log_format, level=settings.log_level)
    faultpoints.watch(settings.fault_dir)
    address, _, port = settings.http_addr.rpartition(":")
    async with open_host(name, settings) as host:
        service = wire(host)
        _tune_garbage_collection()
        app = AsgiFastStream(
            host.broker,
            asgi_routes=_routes(host, service),
            logger=None,
            after_startup=[service.start, _following(host)],
            on_shutdown=[_guarded_stop(host, service)],
        )
        try:
            await host.broker.connect()
        except Exception as error:
            raise BrokerUnreachableError(f"Kafka does not answer: {type(error).__name__}") from None
        server = _Server(
            uvicorn.Config(
                app, host=address or "127.0.0.1", port=int(port), log_config=None, access_log=False, lifespan="on"
            )
        )
        watcher = asyncio.create_task(_stop_on_failure(host, server))
        host.telemetry.log.info("starting", http_addr=settings.http_addr)
        try:
            await server.serve()
        except SystemExit:
            # uvicorn's way of saying that it could not bind.
            raise AddressTakenError(f"{settings.http_addr} is in use") from None
        finally:
            watcher.cancel()
        if host.failure.done():
            raise ServiceFailedError(f"{name} stopped: {describe(host.failure.result())}")
        if not server.started:
            raise ServiceFailedError(f"{name} could not start")
        host.telemetry.log.info("stopped")


class _Server(uvicorn.Server):
    """uvicorn, without its raising a signal once more after serving: our own clean-up comes then."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop serving on SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        stopping = (signal.SIGTERM, signal.SIGINT)
        for number in stopping:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in stopping:
                loop.remove_signal_handler(number)


def _tune_garbage_collection() -> None:
    # What was loaded lives as long as the process, and records in work are many but hold no cycles: the default would
    # walk all of them again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _following(host: Host) -> Callable[[], Awaitable[None]]:
    async def follow() -> None:
        host.run_in_background(host.tenants.follow)

    return follow


def _guarded_stop(host: Host, service: Service) -> Callable[[], Any]:
    async def stop() -> None:
        # An exception in a shutdown hook would keep the consumers from being closed.
        try:
            await service.stop()
        except Exception as error:
            host.telemetry.log.error("unclean stop", error=describe(error))
        for task in set(host.background):
            task.cancel()

    return stop


async def _stop_on_failure(host: Host, server: uvicorn.Server) -> None:
    # Shielded: who cancels this task at a clean stop must not cancel the future with it, for that looks like a failure.
    error = await asyncio.shield(host.failure)
    host.telemetry.log.error("stopping", error=describe(error))
    server.should_exit = True
