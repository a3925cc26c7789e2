"""What a stack says about itself: the content of ``state.json`` and of `waybill status --json`."""

from __future__ import annotations

import time
from datetime import datetime
from enum import StrEnum

import psutil
from pydantic import BaseModel, ConfigDict

CLOCK_TOLERANCE_SECONDS = 2.0
"""A process's start time is counted from the boot time, which moves a little when the clock is set."""

POLL_SECONDS = 0.02


class StackState(StrEnum):
    """How the whole is; see the package's docstring for the ways between them."""

    DOWN = "down"
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    STOPPING = "stopping"


class Part(StrEnum):
    """What of a stack to start."""

    POSTGRES = "postgres"
    KAFKA = "kafka"
    SERVICES = "services"


class ProcessState(StrEnum):
    """How one process is: ``waiting`` is the pause before it is started again."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    STOPPED = "stopped"


class ProcessRef(BaseModel):
    """A process, so named that a reused process id is never mistaken for it: by id and start time."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: float
    """Seconds since the epoch, as the operating system tells it."""

    @classmethod
    def of(cls, pid: int) -> ProcessRef | None:
        """Return the running process with this id, or None."""
        try:
            return cls(pid=pid, started=psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def find(self) -> psutil.Process | None:
        """Return the process if it still runs; None if it ended, even if another one has its id by now."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) > CLOCK_TOLERANCE_SECONDS:
                return None
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.NoSuchProcess:
            return None

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end, at most ``seconds``, and say whether it came.

        An ended process that its parent has not reaped counts as ended: in a container the first process, which
        inherits the supervisor, may never do so.
        """
        deadline = time.monotonic() + seconds
        while self.find() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


class ProcessStatus(BaseModel):
    """One process of the stack."""

    name: str
    pid: int | None = None
    state: ProcessState
    restarts: int = 0
    http_addr: str | None = None
    """``host:port`` of its /live, /ready and /metrics, if it serves them."""
    log: str
    """Path of the file that its output goes to."""
    ref: ProcessRef | None = None


class StackStatus(BaseModel):
    """The stack of one state folder."""

    state: StackState
    state_dir: str
    parts: list[Part] = []
    """What was asked for; one whose address the environment names is not among the processes."""
    database_url: str | None = None
    """For people, with their login's password: it may migrate, be on call and read facts. Services have their own."""
    kafka_bootstrap_servers: str | None = None
    simulator_url: str | None = None
    since: datetime | None = None
    """When the supervisor started."""
    supervisor: ProcessRef | None = None
    processes: list[ProcessStatus] = []

    @property
    def running(self) -> bool:
        """Whether clients can use it, if perhaps not all of it."""
        return self.state in (StackState.READY, StackState.DEGRADED)
