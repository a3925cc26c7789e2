"""Services are killed at any moment while jobs flow: nothing is lost, repeated, or paid twice in silence."""

from __future__ import annotations

import asyncio
import random

from support.stack_groups import forget_members
from support.stack_history import flow
from support.stack_jobs import job_count, long_or
from support.stack_running import RunningStack

from services.executor.app import NAME as EXECUTOR
from services.standalone.plan import SERVICES

KILLS_EACH = long_or(2, 125)
JOBS_PER_KILL = 20
SESSIONS_TIME_OUT = long_or(0, 1)
"""Whether the broker finds out by itself that a member is dead; otherwise it is told, which takes no time."""


async def test_killing_services_at_any_moment(stack: RunningStack, chance: random.Random) -> None:
    """A service is killed again as soon as it runs, and while others are still away."""
    kills = KILLS_EACH * len(SERVICES)
    count = max(job_count(400), JOBS_PER_KILL * kills)
    moments = {service: sorted(chance.sample(range(count * 9 // 10), KILLS_EACH)) for service in SERVICES}
    await stack.simulate(latency_ms=[100, 500])
    async with flow(stack, "kill", count) as jobs, asyncio.TaskGroup() as group:
        group.create_task(jobs.publish_in_step())
        while any(moments.values()):
            sealed = await jobs.sealed(min(due[0] for due in moments.values() if due))
            for victim, due in moments.items():
                if due and due[0] <= sealed:
                    due.pop(0)
                    await _kill(stack, victim)
    await stack.until_ready()
    print(f"{kills} kills")


async def test_killing_all_services_at_once(stack: RunningStack, chance: random.Random) -> None:
    count = job_count(200)
    await stack.simulate(latency_ms=[100, 500])
    async with flow(stack, "kill-all", count) as jobs:
        await jobs.publish()
        await jobs.sealed(chance.randrange(count // 2))
        await asyncio.gather(*(_kill(stack, service) for service in SERVICES))


async def test_killing_executors_while_the_provider_fails_too(stack: RunningStack, chance: random.Random) -> None:
    count = job_count(200)
    await stack.simulate(latency_ms=[50, 300], fault_rate=0.2)
    async with flow(stack, "kill-and-fail", count) as jobs:
        await jobs.publish()
        for moment in sorted(chance.sample(range(count * 9 // 10), 2)):
            await jobs.sealed(moment)
            await _kill(stack, EXECUTOR)


async def _kill(stack: RunningStack, service: str) -> None:
    await stack.end(service)
    if not SESSIONS_TIME_OUT:
        await forget_members(stack.settings(), service)
