"""What the benchmarks that need a stack share: servers of their own, processes, jobs, and what a run used.

Whatever is started here ends with the ``with`` block that started it, by process id, also on Ctrl-C. Postgres and Kafka
belong to a supervisor in a temporary folder; everything else is a guarded child that the kernel ends with this process.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson
import psutil
import uvloop

from services.runtime.errors import WaybillError
from services.runtime.ids import new_record_id
from services.runtime.settings import Settings
from services.standalone.launch import run_once
from services.standalone.logins import ADMINISTRATOR
from services.standalone.plan import SERVICES, Plan, Surroundings, waybill
from services.standalone.process import ProcessSpec, Supervised
from services.standalone.stack import Stack
from services.standalone.supervisor import configure_logging, first_error

ROOT: Final = Path(__file__).resolve().parent.parent
TEXT_CHARS: Final = 860
"""With the rest of a job about 1 KB."""

_SUBJECTS: Final = ("The auditor", "Our tenant", "A neighbour", "The second supplier", "Her colleague")
_VERBS: Final = ("reviewed", "postponed", "forwarded", "questioned", "approved", "misplaced", "translated")
_OBJECTS: Final = ("the lease", "an invoice", "the spring timetable", "every reply", "a list of parts", "the minutes")
_WHEN: Final = ("before noon", "after the inspection", "while it rained", "last March", "without being asked")
_STATEMENT: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
T = TypeVar("T")


class BenchmarkError(WaybillError):
    """The benchmark could not measure what it says it measures."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Postgres and Kafka that run for this benchmark alone, and the plan of everything that goes beside them."""

    around: Surroundings
    plan: Plan
    servers: Mapping[str, psutil.Process]

    @property
    def settings(self) -> Settings:
        """What a client needs to know who may do everything, such as make tables beside the services'."""
        return Settings(
            database_url=Stack(self.around.folder.root).database_url_of(ADMINISTRATOR),
            kafka_bootstrap_servers=self.around.kafka_bootstrap_servers,
        )

    def simulator(self, *arguments: str) -> ProcessSpec:
        """Return the provider simulator with more arguments."""
        (spec,) = self.plan.stages[0]
        return replace(spec, arguments=(*spec.arguments, *arguments), directory=ROOT)

    def services(self) -> list[ProcessSpec]:
        """Return the four services, from the first to the last that a job meets."""
        return [replace(spec, directory=ROOT) for spec in self.plan.stages[1]]

    def python(self, name: str, *arguments: str) -> ProcessSpec:
        """Return a Python process with the services' surroundings."""
        environment = self.plan.environment
        return ProcessSpec(name=name, arguments=(sys.executable, *arguments), environment=environment, directory=ROOT)

    async def prepare(self) -> None:
        """Migrate the database and make the topics, as `waybill up` does."""
        for name, arguments in self.plan.preparation.items():
            await run_once(name, arguments, self.around.folder, environment=self.plan.environment, directory=ROOT)


@contextmanager
def open_bench() -> Iterator[Bench]:
    """Start Postgres and Kafka in a temporary folder; both are gone afterwards, with all their data."""
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"):
        # They would take the place of our own servers, and a benchmark never fills somebody's database.
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory(prefix="waybill-bench-") as folder:
        stack = Stack(Path(folder))
        try:
            status = stack.start(Stack.SERVERS_ONLY)
            assert status.database_url is not None
            assert status.kafka_bootstrap_servers is not None
            ports, kafka = stack.folder.read_ports(), status.kafka_bootstrap_servers
            urls = {service: stack.database_url_of(service) for service in SERVICES}
            around = Surroundings(stack.folder, ports, status.database_url, kafka, urls)
            servers = {part.name: psutil.Process(part.pid) for part in status.processes}
            yield Bench(around, waybill(around), servers)
        finally:
            stack.stop()


def run_on_bench(main: Callable[[Bench], Coroutine[Any, Any, T]]) -> T:
    """Return what ``main`` returns; Ctrl-C, SIGTERM and errors that explain themselves end the program, cleaned up."""

    async def stoppable(bench: Bench) -> T:
        task = asyncio.ensure_future(main(bench))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    configure_logging()
    try:
        with open_bench() as bench:
            return uvloop.run(stoppable(bench))
    except WaybillError as error:
        sys.exit(f"{error}\n{error.hint or ''}".rstrip())
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("stopped")


@asynccontextmanager
async def running(bench: Bench, specs: Sequence[ProcessSpec]) -> AsyncIterator[dict[str, psutil.Process]]:
    """Run processes, ready when this begins; raises :class:`BenchmarkError` where one did not live to the end."""
    started = [Supervised(spec, bench.around.folder) for spec in specs]
    try:
        try:
            async with asyncio.TaskGroup() as group:
                for process in started:
                    group.create_task(process.start())
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        pids = {process.spec.name: process.status().pid for process in started}
        yield {name: psutil.Process(pid) for name, pid in pids.items()}
        for name, now in ((process.spec.name, process.status().pid) for process in started):
            if now != pids[name]:
                log = bench.around.folder.log_tail(name)
                raise BenchmarkError(f"{name} ended during the benchmark. Its log ends:\n{log}")
    finally:
        await asyncio.gather(*(process.stop() for process in started))


# -- what is sent -------------------------------------------------------------------------------------------------


def english(chance: random.Random, characters: int = TEXT_CHARS) -> str:
    """Return so many characters of plain sentences."""
    sentences: list[str] = []
    length = 0
    while length < characters:
        words = (chance.choice(part) for part in (_SUBJECTS, _VERBS, _OBJECTS, _WHEN))
        sentences.append(f"{' '.join(words)}, and {chance.randrange(2, 400)} of them agreed.")
        length += len(sentences[-1]) + 1
    return " ".join(sentences)[:characters]


def jobs(count: int, *, alias: str | None = None, seed: int | None = None) -> list[tuple[bytes, bytes]]:
    """Return keys and values of jobs of 1 KB, no two of them alike; the key is the job's idempotency key."""
    chance = random.Random(seed)
    made: list[tuple[bytes, bytes]] = []
    for _ in range(count):
        key = str(new_record_id())
        job = {
            "schema_version": 1,
            "tenant": "bench",
            "latency_class": "background",
            "idempotency_key": key,
            "messages": [{"role": "user", "content": english(chance)}],
            **({"alias": alias} if alias else {}),
        }
        made.append((key.encode(), orjson.dumps(job)))
    return made


def statements(file: Path) -> dict[str, str]:
    """Return the statements of a ``.sql`` file by the name that stands above each."""
    parts = _STATEMENT.split(file.read_text(encoding="utf-8"))[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


# -- what is used -------------------------------------------------------------------------------------------------


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process and all that it ever started."""
    total = 0.0
    for member in (process, *process.children(recursive=True)):
        try:
            times = member.cpu_times()
        except psutil.NoSuchProcess:
            continue  # its parent has reaped it: counted there at the next look
        total += times.user + times.system + times.children_user + times.children_system
    return total


@dataclass(frozen=True, slots=True)
class Usage:
    """What happened between two looks: wall-clock seconds, and CPU seconds by process and of the whole machine."""

    seconds: float
    cpu: Mapping[str, float]
    idle: float
    others: float
    """CPU seconds that went to processes that are not part of the benchmark."""


class Meter:
    """Counts from the moment it is made."""

    def __init__(self, processes: Mapping[str, psutil.Process]) -> None:
        """Name the processes to count; this one is ``driver``."""
        self._processes = {**processes, "driver": psutil.Process()}
        self._before = self._look()
        self._machine = psutil.cpu_times()
        self._began = time.perf_counter()

    def read(self) -> Usage:
        """Return what was used until now."""
        seconds = time.perf_counter() - self._began
        machine, now = psutil.cpu_times(), self._look()
        cpu = {name: now[name] - self._before[name] for name in now}
        idle = machine.idle + machine.iowait - self._machine.idle - self._machine.iowait
        return Usage(seconds, cpu, idle, max(0.0, seconds * (os.cpu_count() or 1) - idle - sum(cpu.values())))

    def _look(self) -> dict[str, float]:
        own = psutil.Process().cpu_times()
        return {
            name: own.user + own.system if name == "driver" else cpu_seconds(process)
            for name, process in self._processes.items()
        }
