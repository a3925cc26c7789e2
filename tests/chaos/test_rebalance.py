"""Executors come and go while calls are in flight: partitions change hands, jobs do not get lost."""

from __future__ import annotations

import signal

import pytest
from support.oracle import History
from support.stack_executors import further_executors
from support.stack_history import flow
from support.stack_jobs import job_count
from support.stack_running import RunningStack

from schemas.codes import EntryKind
from services.executor.app import NAME as EXECUTOR


@pytest.mark.parametrize("leaves_by", [signal.SIGTERM, signal.SIGKILL], ids=["graceful", "killed"])
async def test_an_executor_joins_and_the_first_one_leaves(stack: RunningStack, leaves_by: signal.Signals) -> None:
    count = job_count(300)
    async with flow(stack, f"rebalance-{leaves_by.name.lower()}", count) as jobs:
        # So slow that the first half is still in flight when the second executor joins.
        await stack.simulate(latency_ms=[2000, 4000])
        await jobs.publish(jobs.jobs[: count // 2])
        await jobs.sealed(1)
        async with further_executors(stack, {}):
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
        async with further_executors(stack, {}):
            await jobs.publish()
            await jobs.sealed(count // 4)
        await jobs.sealed(count)
        assert len(_workers(await jobs.history())) > 1


def _workers(history: History) -> set[str]:
    """Return the executor processes that made calls."""
    return {
        entry.content()["data"]["worker"]
        for chain in history.chains.values()
        for entry in chain
        if entry.kind == EntryKind.ATTEMPT_STARTED
    }
