"""Whatever ends the supervisor ends everything; what was under way goes on when the stack is up again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Sequence

from support.stack_history import flow
from support.stack_jobs import job_count
from support.stack_running import PATIENCE_S, RunningStack, until

from services.standalone.status import ProcessRef


async def test_a_killed_supervisor_takes_everything_with_it_and_no_job(stack: RunningStack) -> None:
    count = job_count(200)
    await stack.simulate(latency_ms=[200, 500])
    async with flow(stack, "supervisor", count) as jobs:
        await jobs.publish()
        await jobs.sealed(1)
        supervisor = stack.status().supervisor
        assert supervisor is not None
        process, everything = supervisor.find(), stack.descendants(supervisor)
        assert process is not None
        process.kill()
        await _all_gone(stack, everything)
        assert stack.status().state == "down"
        await stack.waybill("up")


async def test_nothing_is_left_after_down(stack: RunningStack) -> None:
    supervisor = stack.status().supervisor
    assert supervisor is not None
    everything = stack.descendants(supervisor)

    await stack.waybill("down")

    assert [ref.pid for ref in everything if ref.find() is not None] == []
    assert stack.strangers() == []


async def test_nothing_is_left_after_ctrl_c(stack: RunningStack) -> None:
    await stack.waybill("down")
    foreground = stack.start_command("up", "--foreground", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        async def is_up() -> bool:
            assert foreground.poll() is None, "the stack comes up"
            return stack.status().running

        await until(is_up, "the stack is up in the foreground")
        ref = ProcessRef.of(foreground.pid)
        assert ref is not None
        everything = stack.descendants(ref)
        foreground.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(foreground.wait, PATIENCE_S) == 0
    finally:
        foreground.kill()
        foreground.wait()
    await _all_gone(stack, everything)


async def _all_gone(stack: RunningStack, everything: Sequence[ProcessRef]) -> None:
    async def gone() -> bool:
        return not any(ref.find() for ref in everything) and not stack.strangers()

    await until(gone, "every process of the stack has ended")
