"""One simulated process: one instance of a service as its `app.py` wires it, with ports of the world.

States: running; frozen (SIGSTOP: no callback runs, all are kept for the thaw); dead (SIGKILL, or ended by itself). What
was wired to Kafka, Postgres and a provider is wired to memory. A dead process never comes back: its instance starts
again as another process.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from enum import Enum, auto
from functools import cache
from typing import Any, Final
from unittest import mock
from uuid import UUID

from schemas.codes import EntryKind
from services.classifier.app import Classifier
from services.detect import warm
from services.executor import app as executor_app
from services.executor.app import Executor
from services.policy import Catalog, Policy
from services.recorder.app import Recorder
from services.router.app import Router
from services.runtime.host import Host, Service
from services.runtime.kafka import Producer, by_record
from services.runtime.keyring import PostgresKeyring
from services.runtime.master_keys import MasterKey, MasterKeys
from services.runtime.telemetry import describe
from services.runtime.tenant_keys import TenantKeys
from services.runtime.tenants import TenantRegistry
from services.runtime.wakeup import Wakeups
from simulation.clients import MemoryKafkaProducer
from simulation.loop import PROCESS
from simulation.progress import MemoryProgress
from simulation.provider import MemoryTransport
from simulation.subscriber import FastStreamBroker
from simulation.telemetry import TracedTelemetry
from simulation.world import CONFIG, IDLE_IN_TRANSACTION_S, World

MASTERS: Final = MasterKeys([MasterKey(bytes(range(32)))])


class State(Enum):
    """What the operating system makes of a process."""

    RUNNING = auto()
    FROZEN = auto()
    DEAD = auto()


class Process:
    """One process, from its start to its death."""

    def __init__(self, world: World, service: str, name: str, *, machine: str, skew_s: float) -> None:
        self.name: Final = name
        self.service: Final = service
        self.machine: Final = machine
        self.skew_s: Final = skew_s
        self.state = State.RUNNING
        self.ended: Final[asyncio.Future[None]] = world.loop.create_future()
        self._world = world
        self._kept: deque[events.Handle] = deque()
        self._fuse: tuple[int, Callable[[], None]] | None = None
        self._fuse_of_next_call: tuple[int, Callable[[], None]] | None = None
        self._stopping: asyncio.Event | None = None
        self._broker: Final = FastStreamBroker(world, name)
        self.learned: Final[set[UUID]] = set()
        """Claims whose answer it has had in hand; a process that is killed takes them along."""
        world.learned.append(self.learned)

    # -- the operating system -------------------------------------------------------------------------------------

    def admits(self, handle: events.Handle) -> bool:
        """Say whether a callback may run; a fuse burns down with each."""
        if self._fuse is not None:
            turns, action = self._fuse
            self._fuse = (turns - 1, action) if turns else None
            if not turns:
                action()
        if self.state is State.FROZEN:
            self._kept.append(handle)
        return self.state is State.RUNNING

    def after_turns(self, turns: int, action: Callable[[], None]) -> None:
        """Do something to the process after so many more of its callbacks: in the middle of whatever it is about."""
        self._fuse = (turns, action)

    def after_next_call(self, turns: int, action: Callable[[], None]) -> None:
        """Do something to the process so many callbacks after it has sent its next paid call."""
        self._fuse_of_next_call = (turns, action)

    def spare(self) -> None:
        """Do nothing to it after all."""
        self._fuse = self._fuse_of_next_call = None

    def start(self) -> None:
        """Begin."""
        context = copy_context()
        context.run(PROCESS.set, self)
        self._world.trace.note(self.name, "starts")
        asyncio.get_running_loop().create_task(self._run(), context=context)

    def kill(self) -> None:
        """Die at once: nothing of it runs any more, and others notice in their own time."""
        if self.state is State.DEAD:
            return
        self._world.trace.note(self.name, "killed")
        self.learned.clear()
        self._end()
        for subscriber in self._broker.subscribers:
            subscriber.fall_silent()

    def freeze(self) -> None:
        """Stand still."""
        if self.state is not State.RUNNING:
            return
        self._world.trace.note(self.name, "frozen")
        self.state = State.FROZEN
        for subscriber in self._broker.subscribers:
            subscriber.fall_silent()
        self._world.loop.call_later(IDLE_IN_TRANSACTION_S, self._idle_in_transaction)

    def thaw(self) -> None:
        """Go on exactly where it stood."""
        if self.state is not State.FROZEN:
            return
        self._world.trace.note(self.name, "thawed")
        self.state = State.RUNNING
        for subscriber in self._broker.subscribers:
            subscriber.speak()
        for handle in self._kept:
            self._world.loop._ready.append(handle)  # type: ignore[attr-defined]
        self._kept.clear()

    def terminate(self) -> None:
        """Ask it to end cleanly (SIGTERM)."""
        if self._stopping is not None:
            self._world.trace.note(self.name, "told to stop")
            self._stopping.set()

    def calls(self, claim: str) -> None:
        """Note a paid call as it is sent: its claim is stored and last, and its worker's lease lives."""
        world = self._world
        if self._fuse_of_next_call is not None:
            self._fuse, self._fuse_of_next_call = self._fuse_of_next_call, None
        found = next((e for c in world.database.tables.entry.values() for e in c if str(e.entry_id) == claim), None)
        world.trace.note(self.name, f"calls for {world.trace.name('claim', claim)}")
        if found is None or found.kind != EntryKind.ATTEMPT_STARTED:
            world.broken.append(f"a call under a claim that is not stored: {claim}")
            return
        lease = world.database.tables.lease.get(UUID(found.content()["data"]["worker"]))
        if lease is None or lease.expires_at <= world.true_now():
            world.broken.append(f"a call for {found.record_id} whose worker's lease has expired")

    def learns(self, claim: str) -> None:
        """Remember an answer that has to be told: by the record, or by a late entry."""
        self.learned.add(UUID(claim))

    def _idle_in_transaction(self) -> None:
        """Have the server end a session that stands still with a transaction open."""
        if self.state is State.FROZEN:
            for database in (self._world.database, self._world.keys):
                if database.holder == self.name:
                    database.disconnect(self.name)
            self._world.loop.call_later(IDLE_IN_TRANSACTION_S, self._idle_in_transaction)

    def _end(self) -> None:
        self.state = State.DEAD
        self._kept.clear()
        self._world.database.disconnect(self.name)
        self._world.keys.disconnect(self.name)
        self._world.disks.died(self)
        if not self.ended.done():
            self.ended.set_result(None)

    # -- what runs in it: as services.runtime.host.serve does it --------------------------------------------------

    async def _run(self) -> None:
        world = self._world
        try:
            host = self._make_host()
            self._stopping = asyncio.Event()
            with _wired(world, self):
                service = WIRING[self.service](host, world)
            for subscriber in self._broker.subscribers:
                await subscriber.start()
            await service.start()
            told: asyncio.Future[Any] = asyncio.ensure_future(self._stopping.wait())
            failed: asyncio.Future[Any] = host.failure
            await asyncio.wait([told, failed], return_when=asyncio.FIRST_COMPLETED)
            if host.failure.done():
                world.trace.count("a service ended itself")
                world.trace.note(self.name, f"ends: {describe(host.failure.result())}")
            await self._stop(service, host)
        except Exception as error:
            world.trace.note(self.name, f"cannot start: {describe(error)}")
            world.trace.count("a service could not start")
        world.trace.note(self.name, "ended")
        for subscriber in self._broker.subscribers:
            subscriber.fall_silent()
        self._end()

    async def _stop(self, service: Service, host: Host) -> None:
        try:
            await service.stop()
        except Exception as error:
            host.telemetry.log.error("unclean stop", error=describe(error))
        for task in sorted(host.background, key=hash):
            task.cancel()
        for subscriber in self._broker.subscribers:
            await subscriber.stop()
        await host.producer.stop()

    def _make_host(self) -> Host:
        world = self._world
        settings = world.settings.model_copy(update={"spool_dir": world.disks.folder / self.machine})
        producer = Producer(settings, self.service, partitioner=by_record)
        producer._producer = MemoryKafkaProducer(world.broker, world.broker_traffic, self.name)
        pool: Any = world.database.pool(self.name)
        keys: Any = world.keys.pool(self.name)
        broker: Any = self._broker
        telemetry = TracedTelemetry(world.trace, self.service, self.name)
        tenants = TenantRegistry(pool, telemetry, {})
        return Host(
            service=self.service,
            settings=settings,
            telemetry=telemetry,
            broker=broker,
            producer=producer,
            pool=pool,
            keyring=PostgresKeyring(keys, MASTERS),
            tenant_keys=TenantKeys(keys, MASTERS),
            wakeups=Wakeups(settings, tenants),
            tenants=tenants,
            failure=asyncio.get_running_loop().create_future(),
        )


# -- wiring -----------------------------------------------------------------------------------------------------------


@cache
def catalog() -> Catalog:
    """Return the catalog that Waybill comes with; its simulator's address is made up."""
    return Catalog.load(CONFIG / "catalog.yaml", {"WAYBILL_SIMULATOR_URL": "http://simulated"})


@cache
def policy() -> Policy:
    """Return the policy that Waybill comes with."""
    warm()
    return Policy.load(CONFIG, {"WAYBILL_SIMULATOR_URL": "http://simulated"})


WIRING: Final[dict[str, Callable[[Host, World], Service]]] = {
    "classifier": lambda host, world: Classifier(host),
    "router": lambda host, world: Router(host),
    "executor": lambda host, world: Executor(host),
    "recorder": lambda host, world: Recorder(host, MemoryProgress(world.broker)),
}


@contextmanager
def _wired(world: World, process: Process) -> Iterator[None]:
    """Give what a service loads or connects by itself: files once for all runs, and the provider's transport."""
    the_catalog, the_policy = catalog(), policy()
    with (
        mock.patch.object(Catalog, "load", return_value=the_catalog),
        mock.patch.object(Policy, "load", return_value=the_policy),
        mock.patch.object(executor_app, "Transport", return_value=MemoryTransport(world.provider, process)),
    ):
        yield
