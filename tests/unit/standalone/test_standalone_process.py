"""One supervised process: ready, restarted, stopped, and what a failed start says."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from services.standalone.errors import DiskFullError, ProcessEndedError, ProcessNotReadyError
from services.standalone.launch import run_once
from services.standalone.process import Backoff, ProcessSpec, Supervised
from services.standalone.state import StateFolder
from services.standalone.status import ProcessRef, ProcessState

BOUND_SECONDS = 120
SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)"


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    made = StateFolder.at(tmp_path / "state")
    made.create()
    return made


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def said_up(folder: StateFolder, times: int = 1) -> Callable[[], Awaitable[bool]]:
    """Return a probe: whether the child's log has said so as often."""

    async def ready() -> bool:
        return folder.log("child").read_text().count("up\n") >= times

    return ready


class Watched(Supervised):
    """Wakes whoever waits for a restart whenever the process changes."""

    def __init__(self, spec: ProcessSpec, folder: StateFolder) -> None:
        self.change = asyncio.Event()
        super().__init__(spec, folder, changed=self.change.set, backoff=Backoff(first=0.01))

    async def until_restarted(self, times: int) -> None:
        async with asyncio.timeout(BOUND_SECONDS):
            while not (self.restarts == times and self.state is ProcessState.READY):
                self.change.clear()
                await self.change.wait()


def test_pauses_double_up_to_a_limit_and_start_anew_after_a_healthy_life() -> None:
    backoff = Backoff()
    assert [backoff.pause(lived=1) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert backoff.pause(lived=60) == 1
    assert backoff.pause(lived=1) == 2


def test_no_pause_is_longer_than_the_limit() -> None:
    backoff = Backoff(largest=0.5)
    assert [backoff.pause(lived=lived) for lived in (1, 1, 60)] == [0.5] * 3


async def test_it_is_ready_when_its_probe_says_so_and_gone_when_stopped(folder: StateFolder) -> None:
    process = Supervised(ProcessSpec("child", python(SLEEPER), ready=said_up(folder)), folder)
    await process.start()
    status = process.status()
    assert status.state is ProcessState.READY
    assert status.ref is not None
    assert status.ref.find() is not None
    await process.stop()
    assert status.ref.find() is None
    assert process.status().state is ProcessState.STOPPED
    assert process.status().pid is None


async def test_one_that_ends_before_it_is_ready_is_an_error_with_the_end_of_its_log(folder: StateFolder) -> None:
    async def never() -> bool:
        return False

    process = Supervised(ProcessSpec("child", python("print('no such bundle'); exit(3)"), ready=never), folder)
    with pytest.raises(ProcessEndedError, match=r"exit status 3.*(?s:.)*no such bundle"):
        await process.start()
    assert process.status().state is ProcessState.STOPPED


async def test_one_that_is_never_ready_is_an_error_and_is_ended(folder: StateFolder) -> None:
    async def never() -> bool:
        return False

    pids: list[int | None] = []
    process = Supervised(
        ProcessSpec("child", python(SLEEPER), ready=never, ready_seconds=0.3),
        folder,
        changed=lambda: pids.append(process.status().pid),
    )
    with pytest.raises(ProcessNotReadyError, match="child was not ready"):
        await process.start()
    started = next(pid for pid in pids if pid is not None)
    assert not psutil.pid_exists(started)


async def test_one_that_dies_is_started_again_and_counted(folder: StateFolder) -> None:
    process = Watched(ProcessSpec("child", python(SLEEPER), ready=said_up(folder)), folder)
    await process.start()
    try:
        for restarts in (1, 2):
            pid = process.status().pid
            assert pid is not None
            psutil.Process(pid).send_signal(signal.SIGKILL)
            await process.until_restarted(restarts)
            assert process.status().pid != pid
    finally:
        await process.stop()


async def test_one_that_cannot_be_started_again_is_tried_again(folder: StateFolder) -> None:
    tries: list[int] = []

    def refuse_twice() -> None:
        tries.append(1)
        if len(tries) in (2, 3):
            raise OSError("not now")

    process = Watched(ProcessSpec("child", python(SLEEPER), ready=said_up(folder), before=refuse_twice), folder)
    await process.start()
    try:
        pid = process.status().pid
        assert pid is not None
        psutil.Process(pid).kill()
        await process.until_restarted(3)
    finally:
        await process.stop()


async def test_what_it_started_ends_with_it(folder: StateFolder) -> None:
    code = f"import subprocess, sys\nc = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}])\nc.wait()"
    process = Supervised(ProcessSpec("child", python(code), ready=said_up(folder)), folder)
    await process.start()
    pid = process.status().pid
    assert pid is not None
    (grandchild,) = psutil.Process(pid).children()
    ref = ProcessRef.of(grandchild.pid)
    assert ref is not None
    await process.stop()
    assert await asyncio.to_thread(ref.ends_within, BOUND_SECONDS)


async def test_one_that_ignores_the_stop_signal_is_killed(folder: StateFolder) -> None:
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER
    process = Supervised(ProcessSpec("child", python(deaf), ready=said_up(folder), stop_seconds=0.2), folder)
    await process.start()
    ref = process.status().ref
    await process.stop()
    assert ref is not None
    assert ref.find() is None


async def test_a_command_runs_to_its_end_with_its_environment(folder: StateFolder) -> None:
    await run_once("migrate", python("import os; print(os.environ['A'])"), folder, environment={"A": "value of a"})
    assert folder.log_tail("migrate") == "value of a"


async def test_a_command_that_fails_says_why(folder: StateFolder) -> None:
    with pytest.raises(ProcessEndedError, match=r"migrate failed \(exit status 1\)(?s:.)*the reason"):
        await run_once("migrate", python("import sys; sys.exit('the reason')"), folder)
    with pytest.raises(DiskFullError, match="migrate could not write"):
        await run_once("migrate", python("import os, sys; sys.exit(os.strerror(28))"), folder)
    with pytest.raises(ProcessNotReadyError, match="migrate was not done"):
        await run_once("migrate", python(SLEEPER), folder, seconds=0.3)
