"""Executors come and go while calls are in flight: partitions change hands, jobs do not get lost."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.oracle import History
from support.stack_history import flow
from support.stack_jobs import job_count
from support.stack_running import PATIENCE_S, RunningStack, until

from schemas.codes import EntryKind
from services.executor.app import NAME as EXECUTOR
from services.runtime.topics import open_admin
from services.standalone.ports import LOOPBACK, Ports


@pytest.mark.parametrize("leaves_by", [signal.SIGTERM, signal.SIGKILL], ids=["graceful", "killed"])
async def test_an_executor_joins_and_the_first_one_leaves(stack: RunningStack, leaves_by: signal.Signals) -> None:
    count = job_count(300)
    async with flow(stack, f"rebalance-{leaves_by.name.lower()}", count) as jobs:
        # So slow that the first half is still in flight when the second executor joins.
        await stack.simulate(latency_ms=[2000, 4000])
        await jobs.publish(jobs.jobs[: count // 2])
        await jobs.sealed(1)
        async with _second_executor(stack):
            await stack.simulate(latency_ms=[200, 500])
            await jobs.publish(jobs.jobs[count // 2 :])
            await jobs.sealed(count // 2)
            await stack.end(EXECUTOR, leaves_by)
            await jobs.sealed(count)
        assert len(_workers(await jobs.history())) > 1


async def test_the_second_executor_is_killed_and_the_first_takes_over(stack: RunningStack) -> None:
    count = job_count(300)
    await stack.simulate(latency_ms=[200, 500])
    async with flow(stack, "rebalance-second", count) as jobs:
        async with _second_executor(stack):
            await jobs.publish()
            await jobs.sealed(count // 4)
        await jobs.sealed(count)
        assert len(_workers(await jobs.history())) > 1


async def test_an_executor_that_was_paused_is_fenced_and_its_answers_come_late(stack: RunningStack) -> None:
    count = job_count(100)
    await stack.simulate(latency_ms=[500, 2000])
    async with flow(stack, "paused", count) as jobs:
        async with _second_executor(stack) as paused:
            await jobs.publish()
            await jobs.sealed(count // 4)
            paused.send_signal(signal.SIGSTOP)
            # Meanwhile its lease and its membership end, and the other one tries its calls once more.
            await jobs.sealed(count)
            paused.send_signal(signal.SIGCONT)
            paused.terminate()
            assert await asyncio.to_thread(paused.wait, PATIENCE_S) == 0
        history = await jobs.history()
        assert len(_workers(history)) > 1
        late = [e for chain in history.chains.values() for e in chain if e.kind == EntryKind.LATE_RESULT]
        assert {entry.content()["data"]["outcome"] for entry in late} <= {"ok"}


@asynccontextmanager
async def _second_executor(stack: RunningStack) -> AsyncIterator[subprocess.Popen[str]]:
    """Run an executor beside the stack's own, once both have partitions; it is killed when the block ends."""
    # A member that was killed counts until its session times out.
    await until(lambda: _is_group_of(stack, 1), "the first executor is alone")
    environment = stack.service_environment(f"{LOOPBACK}:{Ports({})['executor']}")
    with (stack.folder / "second-executor.log").open("ab") as log:
        process = stack.start_command("serve", EXECUTOR, env=environment, stdout=log, stderr=log)
    try:

        async def has_joined() -> bool:
            assert process.poll() is None, "the second executor runs"
            return await _is_group_of(stack, 2)

        await until(has_joined, "the second executor has joined")
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)


async def _is_group_of(stack: RunningStack, size: int) -> bool:
    """Return whether so many executors share the partitions, and have settled who has which."""
    settings = stack.settings()
    admin = await open_admin(settings)
    try:
        (response,) = await admin.describe_consumer_groups([settings.group(EXECUTOR)])
        ((_, _, state, _, _, members, *_),) = response.groups
        return state == "Stable" and len(members) == size
    finally:
        await admin.close()


def _workers(history: History) -> set[str]:
    """Return the executor processes that made calls."""
    return {
        entry.content()["data"]["worker"]
        for chain in history.chains.values()
        for entry in chain
        if entry.kind == EntryKind.ATTEMPT_STARTED
    }
