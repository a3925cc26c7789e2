"""Executors come and go while calls are in flight: partitions change hands, jobs do not get lost."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from support.stack_history import flow
from support.stack_jobs import job_count
from support.stack_running import PATIENCE_S, RunningStack, until

from services.standalone.ports import LOOPBACK, Ports


@pytest.mark.parametrize("leaves_by", [signal.SIGTERM, signal.SIGKILL], ids=["graceful", "killed"])
async def test_an_executor_joins_and_the_first_one_leaves(stack: RunningStack, leaves_by: signal.Signals) -> None:
    count = job_count(300)
    await stack.simulate(latency_ms=[200, 500])
    async with flow(stack, f"rebalance-{leaves_by.name.lower()}", count) as jobs:
        await jobs.publish()
        await jobs.sealed(1)
        with _second_executor(stack) as ready:
            await ready()
            await stack.end("executor", leaves_by)
            await jobs.sealed(count)


async def test_the_second_executor_is_killed_and_the_first_takes_over(stack: RunningStack) -> None:
    count = job_count(300)
    await stack.simulate(latency_ms=[200, 500])
    async with flow(stack, "rebalance-second", count) as jobs:
        with _second_executor(stack) as ready:
            await ready()
            await jobs.publish()
            await jobs.sealed(1)
        await jobs.sealed(count)


@contextmanager
def _second_executor(stack: RunningStack) -> Iterator[_Ready]:
    """Run an executor beside the stack's own; it is killed when the block ends."""
    address = f"{LOOPBACK}:{Ports({})['executor']}"
    with (stack.folder / "second-executor.log").open("ab") as log:
        process = stack.start_command(
            "serve", "executor", env=stack.service_environment(address), stdout=log, stderr=log
        )
    try:
        yield _Ready(process, address)
    finally:
        process.kill()
        process.wait(PATIENCE_S)


class _Ready:
    """Waits until a service answers that it is ready."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self._process = process
        self._url = f"http://{address}/ready"

    async def __call__(self) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:

            async def ready() -> bool:
                assert self._process.poll() is None, "the second executor runs"
                return (await client.get(self._url)).status_code == httpx.codes.OK

            await until(ready, "the second executor is ready")
