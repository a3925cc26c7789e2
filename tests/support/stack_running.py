"""A whole stack for tests that kill parts of it: driven by the command line, looked into from beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import orjson
import psutil
from prometheus_client.parser import text_string_to_metric_families

from schemas.topics import DEAD_LETTER, RESULTS
from services.runtime import queries
from services.runtime.postgres import is_transient
from services.runtime.settings import Settings
from services.standalone.logins import ADMINISTRATOR
from services.standalone.loopback import loopback_client
from services.standalone.stack import ProcessStatus, Stack, StackStatus
from services.standalone.status import ProcessRef, ProcessState
from support import sql
from support.stack_folder import stack_folder

ROOT: Final = Path(__file__).parents[2]
PATIENCE_S: Final = 300.0
"""The bound of every wait: a wait that reaches it has failed, however busy the machine."""
LOOK_EVERY_S: Final = 0.2
_SQL: Final = sql.load("stack")
_ON_CALL: Final = queries.load("cli_records")
_SERVERS: Final = ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "KEYRING_DATABASE_URL", "WAYBILL_TOPIC_PREFIX")


@dataclass(frozen=True)
class Printed:
    """What a command said."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """Return what a command with ``--json`` printed."""
        return orjson.loads(self.out)


@dataclass(frozen=True)
class Progress:
    """How far a tenant's jobs are."""

    sealed: int
    open: int
    held: int
    aside: int


class RunningStack:
    """The stack of one state folder, and its environment."""

    def __init__(self, state_dir: Path, environment: Mapping[str, str]) -> None:
        self.stack = Stack(state_dir)
        self.folder = state_dir.parent
        inherited = {name: value for name, value in os.environ.items() if name not in _SERVERS}
        self.environment = {
            **inherited,
            "WAYBILL_STATE_DIR": str(self.stack.folder.root),
            "WAYBILL_CONFIG_DIR": str(ROOT / "config"),
            "COLUMNS": "200",
            **environment,
        }

    # -- the command line -----------------------------------------------------------------------------------------

    def start_command(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "services.cli.main", *arguments],
            cwd=ROOT,
            text=True,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            **{"env": self.environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    def run_command(self, *arguments: str, status: int = 0) -> Printed:
        """Run a command to its end, which must be ``status``."""
        process = self.start_command(*arguments)
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
            process.wait()
        printed = Printed(process.returncode, out, err)
        assert printed.status == status, f"waybill {' '.join(arguments)} ended with {printed}"
        return printed

    async def waybill(self, *arguments: str, status: int = 0) -> Printed:
        """Run a command beside what the test does."""
        return await asyncio.to_thread(self.run_command, *arguments, status=status)

    # -- processes ------------------------------------------------------------------------------------------------

    def status(self) -> StackStatus:
        """Return how the stack is."""
        return self.stack.status()

    def process(self, name: str) -> ProcessStatus:
        """Return one process of the stack."""
        return next(process for process in self.status().processes if process.name == name)

    async def until_ready(self, *names: str) -> None:
        """Wait until these processes, or all, are ready."""

        async def ready() -> bool:
            processes = self.status().processes
            return bool(processes) and all(_is_ready(one) for one in processes if not names or one.name in names)

        await until(ready, f"{', '.join(names) or 'everything'} is ready")

    async def end(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one ready process, by its id, and wait until that process is gone."""
        await self.until_ready(name)
        ref = self.process(name).ref
        assert ref is not None, f"{name} runs"
        found = ref.find()
        assert found is not None, f"{name} runs"
        found.send_signal(number)
        assert await asyncio.to_thread(ref.ends_within, PATIENCE_S), f"{name} ends by {number.name}"

    def resume(self, name: str) -> None:
        """Let one process go on, where a fault point has frozen it."""
        ref = self.process(name).ref
        process = None if ref is None else ref.find()
        assert process is not None, f"{name} is there"
        process.resume()

    @asynccontextmanager
    async def frozen(self, name: str) -> AsyncIterator[None]:
        """Freeze a process and all below it: it is connected, and does not answer until the block ends."""
        ref = self.process(name).ref
        assert ref is not None, f"{name} runs"
        refs = self.descendants(ref)
        for process in (one.find() for one in refs):
            if process is not None:
                process.suspend()
        try:
            yield
        finally:
            for process in (one.find() for one in refs):
                if process is not None:
                    process.resume()

    def descendants(self, above: ProcessRef) -> list[ProcessRef]:
        """Return a process, the supervisor for one, and every process below it."""
        process = above.find()
        assert process is not None, "it runs"
        below = [ProcessRef.of(child.pid) for child in process.children(recursive=True)]
        return [above, *(ref for ref in below if ref is not None)]

    def strangers(self) -> list[str]:
        """Return the command line of every process that works in this state folder, whoever started it."""
        found = []
        for process in psutil.process_iter():
            try:
                words, names = process.cmdline(), process.environ()
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            root = str(self.stack.folder.root)
            if any(root in word for word in words) or names.get("WAYBILL_SPOOL_DIR", "").startswith(root):
                found.append(" ".join(words)[:200])
        return found

    # -- what is in it --------------------------------------------------------------------------------------------

    def service_environment(self, http_addr: str) -> dict[str, str]:
        """Return the environment for one more executor beside that of the stack."""
        status, folder = self.status(), self.stack.folder
        return {
            **self.environment,
            "DATABASE_URL": self.stack.database_url_of("executor"),
            "KAFKA_BOOTSTRAP_SERVERS": str(status.kafka_bootstrap_servers),
            "WAYBILL_SIMULATOR_URL": str(status.simulator_url),
            "WAYBILL_SECRETS_DIR": str(folder.secrets),
            "WAYBILL_MASTER_KEY_FILE": str(folder.master_key),
            "WAYBILL_SPOOL_DIR": str(folder.root / "spool"),
            "WAYBILL_HTTP_ADDR": http_addr,
        }

    @property
    def charges(self) -> Path:
        """The file in which the simulator says what it charged."""
        return self.stack.folder.root / "simulator" / "ledger.jsonl"

    @property
    def database_url(self) -> str:
        """Where its PostgreSQL answers its superuser: a test looks everywhere, and is on call."""
        assert self.status().running, "the stack runs"
        return self.stack.database_url_of(ADMINISTRATOR)

    def settings(self) -> Settings:
        """Return the settings of a client."""
        status = self.status()
        return Settings(
            DATABASE_URL=status.database_url or "",
            KAFKA_BOOTSTRAP_SERVERS=status.kafka_bootstrap_servers or "",
            WAYBILL_MASTER_KEY_FILE=self.stack.folder.master_key,
        )

    @property
    def results_topic(self) -> str:
        """The name of the results topic."""
        return self.settings().topic(RESULTS.name)

    @property
    def dead_letter_topic(self) -> str:
        """The name of the dead-letter topic."""
        return self.settings().topic(DEAD_LETTER.name)

    async def simulate(self, **knob: Any) -> None:
        """Change how the simulated provider behaves, all models' or one's."""
        await self._simulator("/sim/control", knob)

    async def simulate_nothing(self) -> None:
        """Let the simulated provider be as it is by default."""
        await self._simulator("/sim/reset", {})

    async def _simulator(self, path: str, content: Mapping[str, Any]) -> None:
        async with loopback_client(PATIENCE_S) as client:
            (await client.post(f"{self.status().simulator_url}{path}", json=content)).raise_for_status()

    async def counted(self, service: str, event: str) -> float:
        """Return how often a service counted an event since it started."""
        async with loopback_client(PATIENCE_S) as client:
            page = await client.get(f"http://{self.process(service).http_addr}/metrics")
        samples = [s for family in text_string_to_metric_families(page.text) for s in family.samples]
        return sum(
            s.value for s in samples if s.name == f"waybill_{service}_events_total" and s.labels["event"] == event
        )

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Ask the database."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def progress(self, tenant: str) -> Progress:
        """Return how far a tenant's jobs are."""
        (row,) = await self.fetch(_SQL["progress"], tenant)
        return Progress(**row)

    async def until_progress(self, tenant: str, enough: Callable[[Progress], bool], what: str) -> None:
        """Wait until a tenant's jobs are that far."""

        async def is_enough() -> bool:
            return enough(await self.progress(tenant))

        await until(is_enough, f"{what} of {tenant}")

    async def until_sealed(self, tenant: str, count: int) -> int:
        """Wait until so many of a tenant's records are sealed, being on call meanwhile; return how many they are."""
        found = 0

        async def sealed() -> bool:
            nonlocal found
            found = (await self.look_after(tenant)).sealed
            return found >= count

        await until(sealed, f"{count} records of {tenant} are sealed")
        return found

    async def until_done(self, tenant: str, records: int) -> None:
        """Wait until a tenant's records are sealed, their results acknowledged, and late answers appended.

        Meanwhile be on call: what was in doubt twice is held, and is released to be tried once more.
        """

        async def done() -> bool:
            progress = await self.look_after(tenant)
            return progress.sealed >= records and not progress.open and not progress.aside

        await until(done, f"all {records} jobs of {tenant} are done")

    async def look_after(self, tenant: str) -> Progress:
        """Be on call for a moment: have all that is held tried again; and return how far the jobs were before."""
        progress = await self.progress(tenant)
        if progress.held:
            connection = await asyncpg.connect(self.database_url)
            try:
                rows = await connection.fetch(_SQL["waiting"], tenant)
                verdicts = [(row["record_id"], row["seq"], "retry") for row in rows]
                await connection.executemany(_ON_CALL["set_verdict"], verdicts)
            finally:
                await connection.close()
        return progress


@contextmanager
def running_stack(environment: Mapping[str, str]) -> Iterator[RunningStack]:
    """Start a stack of its own with these settings, and end all of it."""
    with stack_folder() as folder:
        running = RunningStack(folder, environment)
        running.run_command("up")
        yield running


def _is_ready(process: ProcessStatus) -> bool:
    # The supervisor says so a moment longer of one that was just killed.
    return process.state is ProcessState.READY and process.ref is not None and process.ref.find() is not None


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = PATIENCE_S) -> None:
    """Wait until a condition holds; that a server is away meanwhile only means that it does not hold yet."""
    deadline = time.monotonic() + seconds
    last = ""
    while True:
        try:
            if await condition():
                return
            last = ""
        except Exception as error:
            if not (is_transient(error) or isinstance(error, OSError | httpx.TransportError | AssertionError)):
                raise
            last = f" ({error!r})"
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain: {what}{last}"
        await asyncio.sleep(LOOK_EVERY_S)
