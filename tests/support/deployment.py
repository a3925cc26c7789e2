"""A deployment of a test's own, in its own process: database, topics, provider, and services that come and go singly.

Each service stands on its own host, as a process of its own does, and may be given settings of its own: another path to
the database, another patience. :meth:`Deployment.process` runs one as a real process instead, where it is to be killed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from schemas.topics import CLASSIFIED, OUTCOMES, REQUESTS, RESULTS, ROUTED_BACKGROUND, ROUTED_BATCH, Topic
from services.classifier.app import Classifier
from services.executor.app import Executor
from services.recorder.app import Recorder
from services.router.app import Router
from services.runtime import queries
from services.runtime.host import Host, Service, open_host
from services.runtime.settings import Settings, variables
from services.runtime.topics import open_admin
from services.standalone.loopback import loopback_client
from services.standalone.plan import SERVICES
from services.standalone.ports import LOOPBACK, Ports
from services.standalone.simulator.server import start_simulator
from services.standalone.simulator.settings import SimulatorSettings
from support import sql
from support.logins import as_login
from support.offsets import partitions_of
from support.oracle import History, faults, read_history
from support.stack_jobs import keys, messages
from support.stack_running import PATIENCE_S, ROOT, Progress, until
from support.stack_topics import Tape, publish, tape

_SQL: Final = sql.load("stack")
_ON_CALL: Final = queries.load("cli_records")
STAGES: Final[Mapping[str, Sequence[Topic]]] = {
    "classifier": [REQUESTS],
    "router": [CLASSIFIED],
    "executor": [ROUTED_BACKGROUND, ROUTED_BATCH],
    "recorder": [OUTCOMES],
}
"""What each service consumes."""
_WIRES: Final[Mapping[str, Callable[[Host], Service]]] = {
    "classifier": Classifier,
    "router": Router,
    "executor": Executor,
    "recorder": Recorder,
}


@dataclass
class Running:
    """One service that runs in this process."""

    host: Host
    _open: AsyncExitStack

    async def stop(self) -> None:
        """Stop it as SIGTERM would."""
        await self._open.aclose()

    def counted(self, event: str) -> float:
        """Return how often it counted an event."""
        return self.sample(f"waybill_{self.host.service}_events_total", event=event)

    @property
    def carried(self) -> float:
        """How many messages it carried through."""
        return self.sample(f"waybill_{self.host.service}_messages_total")

    def sample(self, name: str, /, **labels: str) -> float:
        """Return one of its metrics; 0 where it was never touched."""
        return self.host.telemetry.registry.get_sample_value(name, labels) or 0.0


@dataclass
class Process:
    """One service that runs as a process."""

    popen: subprocess.Popen[bytes]
    http_addr: str

    async def sample(self, name: str, /, **labels: str) -> float:
        """Return the sum of its samples of a metric that have these labels, as it shows them now."""
        async with loopback_client(PATIENCE_S) as client:
            page = (await client.get(f"http://{self.http_addr}/metrics")).raise_for_status().text
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    async def kill(self) -> None:
        """Kill it without a word."""
        self.popen.kill()
        await asyncio.to_thread(self.popen.wait, PATIENCE_S)


@dataclass
class Deployment:
    """Database, topics and provider; services are started by name."""

    settings: Settings
    logins: Mapping[str, str]
    simulator_url: str
    charges: Path
    folder: Path
    results: Tape
    running: list[Running] = field(default_factory=list)

    # -- services -------------------------------------------------------------------------------------------------

    async def start(self, *names: str, **changes: Any) -> list[Running]:
        """Start services in this process, all four where none is named; ``changes`` are fields of their settings."""
        names = names or SERVICES
        for name in names:
            self.running.append(await self._start(name, self._settings_of(name, changes)))
        return self.running[-len(names) :]

    def _settings_of(self, name: str, changes: Mapping[str, Any]) -> Settings:
        """Return a service's settings, with a login that may do what it has to and no more."""
        settings = self.settings.model_copy(update=changes)
        return settings.model_copy(update={"database_url": as_login(settings.database_url, self.logins[name])})

    async def _start(self, name: str, settings: Settings) -> Running:
        async with AsyncExitStack() as stack:
            host = await stack.enter_async_context(open_host(name, settings))
            service = _WIRES[name](host)
            stack.push_async_callback(self._no_failure, host)
            stack.push_async_callback(host.broker.stop)
            await host.broker.start()
            stack.push_async_callback(_end_background, host)
            stack.push_async_callback(service.stop)
            await service.start()
            host.run_in_background(host.tenants.follow)
            return Running(host, stack.pop_all())

    async def stop(self) -> None:
        """Stop every service in this process."""
        while self.running:
            await self.running.pop().stop()

    @staticmethod
    async def _no_failure(host: Host) -> None:
        if host.failure.done():
            raise AssertionError(f"{host.service} could not go on") from host.failure.result()

    @asynccontextmanager
    async def process(self, name: str, **changes: Any) -> AsyncIterator[Process]:
        """Run one service as a process, and wait until it is ready; it is killed when the block ends."""
        address = f"{LOOPBACK}:{Ports({})[name]}"
        environment = _environment(self._settings_of(name, {**changes, "http_addr": address}))
        with (self.folder / f"{name}.log").open("ab") as log:
            popen = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, "-m", "services.cli.main", "serve", name],
                cwd=ROOT,
                env={**os.environ, **environment, "WAYBILL_SIMULATOR_URL": self.simulator_url},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            await until(lambda: _is_ready(popen, address), f"{name} is ready")
            yield Process(popen, address)
        finally:
            popen.kill()
            popen.wait(PATIENCE_S)

    async def look_at_topics(self) -> None:
        """Let every consumer ask which topics there are, as it does by itself every few minutes."""
        for running in self.running:
            for subscriber in running.host.broker.subscribers:
                await subscriber.consumer._client.force_metadata_update()  # type: ignore[attr-defined]

    # -- jobs -----------------------------------------------------------------------------------------------------

    async def publish(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Publish jobs, each under its idempotency key."""
        await publish(lambda: self.settings, messages(self.settings, jobs))

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Ask the database, by a way of its own."""
        connection = await asyncpg.connect(self.settings.database_url)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until a condition holds, while no service fails."""

        async def holds() -> bool:
            for running in self.running:
                if running.host.failure.done():
                    await self._no_failure(running.host)
            return await condition()

        await until(holds, what)

    async def progress(self, tenant: str) -> Progress:
        """Return how far a tenant's jobs are."""
        (row,) = await self.fetch(_SQL["progress"], tenant)
        return Progress(**row)

    async def until_done(self, tenant: str, records: int) -> None:
        """Wait until a tenant's records are sealed and closed; meanwhile be on call, as for a whole stack."""

        async def left() -> Sequence[int]:
            progress = await self.progress(tenant)
            for row in await self.fetch(_SQL["waiting"], tenant) if progress.held else ():
                await self.fetch(_ON_CALL["set_verdict"], row["record_id"], row["seq"], "retry")
            return max(0, records - progress.sealed), progress.open, progress.aside

        await self.until_none(left, f"left of {records} jobs of {tenant}: unsealed, open, aside")

    async def until_none(self, left: Callable[[], Awaitable[Sequence[int]]], what: str) -> None:
        """Wait until nothing is left. However much there is: the bound is on a wait in which nothing changes."""
        found: Sequence[int] = ()

        async def changed() -> bool:
            nonlocal found
            before, found = found, await left()
            return found != before or not any(found)

        while not found or any(found):
            await self.until(changed, f"{what} {found}")

    async def history(self, jobs: Sequence[dict[str, Any]], *, records: int | None = None) -> History:
        """Return what became of one tenant's jobs when all have ended; ``records`` where they are not one for each."""
        tenant = jobs[0]["tenant"]
        await self.until_done(tenant, len(jobs) if records is None else records)
        assert self.settings.master_key_file is not None
        return await read_history(
            self.settings.database_url,
            self.charges,
            self.settings.master_key_file,
            tenant,
            [key for key in keys(jobs) if key is not None],
            await self.results.results_of(tenant),
        )

    async def judge(self, jobs: Sequence[dict[str, Any]], *, further_records: int = 0) -> History:
        """Return the history of jobs, which must have no fault."""
        history = await self.history(jobs)
        found = faults(history, further_records=further_records)
        assert not found, "; ".join(found[:20])
        return history


@asynccontextmanager
async def deployed(
    settings: Settings, logins: Mapping[str, str], folder: Path, **simulator: Any
) -> AsyncIterator[Deployment]:
    """Give a deployment without a service; those that run at the end are stopped."""
    charges = folder / "ledger.jsonl"
    settings = settings.model_copy(update={"spool_dir": folder / "spool"})
    provider = await start_simulator(SimulatorSettings(charges, **simulator))
    try:
        with pytest.MonkeyPatch.context() as environment:
            # The catalog names the provider's address by this variable, for services in this process too.
            environment.setenv("WAYBILL_SIMULATOR_URL", provider.url)
            results = await tape(settings, settings.topic(RESULTS.name))
            deployment = Deployment(settings, logins, provider.url, charges, folder, results)
            async with AsyncExitStack() as stopping:
                stopping.push_async_callback(deployment.stop)
                yield deployment
    finally:
        await provider.aclose()


async def until_caught_up(waybill: Deployment) -> None:
    """Wait until every stage has committed all that was sent to it; what a stage sends is sent before it commits."""
    settings = waybill.settings
    admin = await open_admin(settings)
    try:

        async def lags() -> list[int]:
            # In the order of the stages: what an earlier one had sent by then is seen by the look at a later one.
            found = []
            for service, topics in STAGES.items():
                partitions = [partition for topic in topics for partition in await partitions_of(settings, topic)]
                committed = await admin.list_consumer_group_offsets(settings.group(service), partitions=partitions)
                ends = await end_offsets(settings, partitions)
                found.append(sum(end - max(0, committed[partition].offset) for partition, end in ends.items()))
            return found

        await waybill.until_none(lags, "messages not yet carried, by stage:")
    finally:
        await admin.close()


async def end_offsets(settings: Settings, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """Return where partitions end now."""
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers) as consumer:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return ends


async def _end_background(host: Host) -> None:
    for task in (ending := set(host.background)):
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def _environment(settings: Settings) -> dict[str, str]:
    names = variables()
    values = settings.model_dump(mode="json", exclude_unset=True)
    return {
        names[field]: value if isinstance(value, str) else orjson.dumps(value).decode()
        for field, value in values.items()
        if value is not None
    }


async def _is_ready(popen: subprocess.Popen[bytes], address: str) -> bool:
    if popen.poll() is not None:
        raise RuntimeError(f"the service ended with status {popen.returncode}")
    async with loopback_client(PATIENCE_S) as client:
        return (await client.get(f"http://{address}/ready")).status_code == httpx.codes.OK
