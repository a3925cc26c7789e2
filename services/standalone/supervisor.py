"""The one process that owns a stack: brings it up in order, keeps it running, takes it down, dies with all of it.

Order: PostgreSQL and Kafka together; the plan's commands; the plan's stages. Whatever fails before all are ready ends
everything that had started. SIGTERM and SIGINT stop it; after SIGKILL the guards end its children.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import structlog
from pydantic import BaseModel

from services.runtime.errors import WaybillError
from services.standalone.errors import DiskFullError, ProcessEndedError
from services.standalone.jars import ensure_jars
from services.standalone.kafka import CONTROLLER, EmbeddedKafka
from services.standalone.kafka import NAME as KAFKA
from services.standalone.launch import run_once
from services.standalone.plan import PlanFunction, Surroundings, load_plan
from services.standalone.ports import is_free
from services.standalone.postgres import NAME as POSTGRES
from services.standalone.postgres import EmbeddedPostgres
from services.standalone.process import Backoff, ProcessSpec, Supervised
from services.standalone.state import StateFolder
from services.standalone.status import Part, ProcessRef, ProcessState, StackState, StackStatus

log = structlog.get_logger()
LEAST_FREE_BYTES = 256 * 1024 * 1024
"""Below this no start is tried: PostgreSQL's first log segment and Kafka's folders would not fit."""
PORT_TRIES = 3
PAUSE_VARIABLE = "WAYBILL_RESTART_PAUSE_MAX_S"
"""The longest pause before a process that ended is started again, in seconds: fault tests kill too often to wait."""


class Report(BaseModel):
    """One line that the supervisor writes to whoever started it."""

    doing: str = ""
    ready: bool = False
    error: str = ""
    error_class: str = ""
    hint: str = ""


class Supervisor:
    """One stack, from the start to the end. All of it belongs to one event loop in the main thread."""

    def __init__(
        self,
        folder: StateFolder,
        parts: Iterable[Part],
        plan: PlanFunction,
        *,
        environment: Mapping[str, str] | None = None,
        report: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self._folder = folder
        self._parts = frozenset(parts)
        self._plan = plan
        self._report = report
        environment = os.environ if environment is None else environment
        self._database_url = environment.get("DATABASE_URL") or None
        self._kafka = environment.get("KAFKA_BOOTSTRAP_SERVERS") or None
        self._service_database_urls: Mapping[str, str] = {}
        self._simulator_url: str | None = None
        self._longest_pause = float(environment.get(PAUSE_VARIABLE) or Backoff.largest)
        self._ports = folder.read_ports()
        self._servers: list[Supervised] = []
        self._stages = [self._servers]
        self._state = StackState.STARTING
        self._since = datetime.now(UTC)
        self._ref = ProcessRef.of(os.getpid())

    async def run(self) -> None:
        """Bring it up, keep it until SIGTERM or SIGINT, take it down. Raises what made the start fail."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                self._state = StackState.READY
                self._write()
                self._report(Report(ready=True))
                await stopping
            else:
                self._report(Report(error="It was stopped before it was ready."))
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.wait({starting})
            await self._stop()

    async def _start(self) -> None:
        self._folder.write_status(self._status())
        self._check_space()
        async with asyncio.TaskGroup() as group:
            if Part.POSTGRES in self._parts and self._database_url is None:
                group.create_task(self._start_postgres())
            if Part.KAFKA in self._parts and self._kafka is None:
                group.create_task(self._start_kafka())
        if Part.SERVICES in self._parts:
            await self._start_services()

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._folder.root).free
        if free < LEAST_FREE_BYTES:
            raise DiskFullError(
                f"Only {free // 2**20} MB are free in {self._folder.root}; "
                f"a stack needs {LEAST_FREE_BYTES // 2**20} MB."
            )

    async def _start_postgres(self) -> None:
        server = EmbeddedPostgres(self._folder, self._ports)
        self._report(Report(doing="starting PostgreSQL"))
        await server.prepare()
        await self._start_server(server.spec, (POSTGRES,))
        self._database_url = server.url
        self._service_database_urls = server.service_urls

    async def _start_kafka(self) -> None:
        server = EmbeddedKafka(self._folder, self._ports, await asyncio.to_thread(ensure_jars))
        self._report(Report(doing="starting Kafka"))
        await server.prepare()
        await self._start_server(server.spec, (KAFKA, CONTROLLER))
        self._kafka = server.bootstrap_servers

    async def _start_server(self, spec: Callable[[], ProcessSpec], ports: tuple[str, ...]) -> None:
        """Start a server on its ports; on others if somebody took one of them in the moment before it could."""
        for last in (False,) * (PORT_TRIES - 1) + (True,):
            process = self._supervised(spec())
            self._servers.append(process)
            self._folder.write_ports(self._ports)
            try:
                await process.start()
            except ProcessEndedError:
                taken = [name for name in ports if not is_free(self._ports[name])]
                if last or not taken:
                    raise
                for name in taken:
                    log.warning("port_taken", name=name, port=self._ports[name], instead=self._ports.renew(name))
                self._servers.remove(process)
                continue
            return

    async def _start_services(self) -> None:
        assert self._database_url is not None
        assert self._kafka is not None
        plan = self._plan(
            Surroundings(self._folder, self._ports, self._database_url, self._kafka, self._service_database_urls)
        )
        self._folder.write_ports(self._ports)
        self._simulator_url = plan.simulator_url
        for name, arguments in plan.preparation.items():
            self._report(Report(doing=f"running {name}"))
            await run_once(name, arguments, self._folder, environment=plan.environment)
        for specs in plan.stages:
            self._report(Report(doing=f"starting {', '.join(spec.name for spec in specs)}"))
            stage = [self._supervised(spec) for spec in specs]
            self._stages.append(stage)
            async with asyncio.TaskGroup() as group:
                for process in stage:
                    group.create_task(process.start())

    def _supervised(self, spec: ProcessSpec) -> Supervised:
        return Supervised(spec, self._folder, changed=self._write, backoff=Backoff(largest=self._longest_pause))

    async def _stop(self) -> None:
        self._state = StackState.STOPPING
        self._write()
        for stage in reversed(self._stages):
            await asyncio.gather(*(process.stop() for process in stage))
        self._state = StackState.DOWN
        self._write()

    def _status(self) -> StackStatus:
        state = self._state
        processes = [process.status() for stage in self._stages for process in stage]
        if state is StackState.READY and any(process.state is not ProcessState.READY for process in processes):
            state = StackState.DEGRADED
        down = state is StackState.DOWN
        return StackStatus(
            state=state,
            state_dir=str(self._folder.root),
            parts=sorted(self._parts),
            database_url=None if down else self._database_url,
            kafka_bootstrap_servers=None if down else self._kafka,
            simulator_url=None if down else self._simulator_url,
            since=None if down else self._since,
            supervisor=None if down else self._ref,
            processes=[] if down else processes,
        )

    def _write(self) -> None:
        # A full disk must not end what runs: the next change is written again.
        try:
            self._folder.write_status(self._status())
        except (WaybillError, OSError) as error:
            log.error("status_not_written", error=str(error))


def first_error(error: BaseException) -> BaseException:
    """Return what went wrong first in a group of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> None:
    """Run as the process that `waybill up` leaves behind; what it has to say goes through a pipe until it is ready."""
    parser = argparse.ArgumentParser(prog="waybill-supervisor", description=main.__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--part", type=Part, action="append", required=True)
    parser.add_argument("--plan", required=True)
    parser.add_argument("--lock-fd", type=int, required=True)
    parser.add_argument("--report-fd", type=int, required=True)
    options = parser.parse_args()
    # The lock is held by this process alone, or a child that lingers would keep it.
    os.set_inheritable(options.lock_fd, False)
    os.set_inheritable(options.report_fd, False)
    if os.fork() != 0:
        os._exit(0)  # whoever started us need not reap us: we are nobody's child now
    configure_logging()
    with os.fdopen(options.report_fd, "w") as pipe:
        report = _report_to(pipe)
        try:
            plan = load_plan(options.plan)
            asyncio.run(Supervisor(StateFolder(options.state_dir), options.part, plan, report=report).run())
        except Exception as raised:
            error = first_error(raised)
            log.error("stack_failed", error=str(error), exc_info=not isinstance(error, WaybillError))
            hint = error.hint if isinstance(error, WaybillError) else ""
            report(Report(error=str(error) or repr(error), error_class=type(error).__name__, hint=hint))
            sys.exit(1)


def configure_logging() -> None:
    """Say on standard error what happens: in colour on a terminal, else as JSON lines in the supervisor's log."""
    # A server that does not answer yet is no news; the client would say so several times a second.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if sys.stderr.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _report_to(pipe: TextIO) -> Callable[[Report], None]:
    def report(line: Report) -> None:
        try:
            pipe.write(line.model_dump_json() + "\n")
            pipe.flush()
        except BrokenPipeError:
            log.info("nobody_listens")

    return report


if __name__ == "__main__":
    main()
