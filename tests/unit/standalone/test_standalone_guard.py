"""The guard: a program under it dies with whoever started it, however that ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from services.standalone.status import ProcessRef

BOUND_SECONDS = 120
PARENT = """
import asyncio, sys
from services.standalone.launch import spawn

async def main():
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    child = await spawn((sys.executable, "-c", program), output=1, environment={}, watch_pipe=sys.argv[1] == "pipe")
    await child.wait()

asyncio.run(main())
"""
WAYS = [
    pytest.param("kernel", marks=pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")),
    "pipe",
]


@pytest.fixture(params=WAYS)
def parent(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", PARENT, request.param], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate(timeout=BOUND_SECONDS)


def child_of(parent: subprocess.Popen[str]) -> ProcessRef:
    assert parent.stdout is not None
    ref = ProcessRef.of(int(parent.stdout.readline()))
    assert ref is not None
    return ref


def test_it_keeps_its_process_id(parent: subprocess.Popen[str]) -> None:
    child = child_of(parent).find()
    assert child is not None
    assert child.ppid() == parent.pid


def test_sigkill_of_the_parent_ends_it(parent: subprocess.Popen[str]) -> None:
    child = child_of(parent)
    watchers = [ref for process in psutil.Process(child.pid).children() if (ref := ProcessRef.of(process.pid))]
    parent.kill()
    parent.wait(BOUND_SECONDS)
    assert child.ends_within(BOUND_SECONDS)
    assert all(watcher.ends_within(BOUND_SECONDS) for watcher in watchers)


def test_a_program_that_ends_by_itself_leaves_no_watcher(parent: subprocess.Popen[str]) -> None:
    child = child_of(parent)
    watchers = [ref for process in psutil.Process(child.pid).children() if (ref := ProcessRef.of(process.pid))]
    psutil.Process(child.pid).kill()
    assert parent.wait(BOUND_SECONDS) == 0
    assert all(watcher.ends_within(BOUND_SECONDS) for watcher in watchers)


def test_a_parent_that_is_gone_before_the_program_starts_is_noticed(tmp_path: Path) -> None:
    from services.standalone import guard

    made = tmp_path / "made"
    result = subprocess.run(
        # Process 1 is not our parent.
        [sys.executable, "-I", "-S", guard.__file__, "1", "9", "-", "-", "/bin/sh", "-c", f": > {made}"],
        capture_output=True,
        text=True,
        timeout=BOUND_SECONDS,
        check=False,
    )
    assert result.returncode != 0
    assert "supervisor ended" in result.stderr
    assert not made.exists()
