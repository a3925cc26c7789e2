"""Each service is killed, several times, while jobs flow: nothing is lost, repeated, or paid twice in silence."""

from __future__ import annotations

import asyncio
import random

from support.stack_history import flow
from support.stack_jobs import job_count
from support.stack_running import RunningStack

from services.standalone.plan import SERVICES

KILLS_EACH = 2


async def test_killing_services_one_after_another(stack: RunningStack, chance: random.Random) -> None:
    count = job_count(600)
    victims = list(SERVICES) * KILLS_EACH
    chance.shuffle(victims)
    moments = sorted(chance.sample(range(count * 9 // 10), len(victims)))
    await stack.simulate(latency_ms=[100, 500])
    async with flow(stack, "kill", count) as jobs:
        publishing = asyncio.create_task(jobs.publish())
        for moment, victim in zip(moments, victims, strict=True):
            await jobs.sealed(moment)
            await stack.end(victim)
        await publishing
    await stack.until_ready()


async def test_killing_all_services_at_once(stack: RunningStack, chance: random.Random) -> None:
    count = job_count(200)
    await stack.simulate(latency_ms=[100, 500])
    async with flow(stack, "kill-all", count) as jobs:
        await jobs.publish()
        await jobs.sealed(chance.randrange(count // 2))
        await asyncio.gather(*(stack.end(service) for service in SERVICES))


async def test_killing_executors_while_the_provider_fails_too(stack: RunningStack, chance: random.Random) -> None:
    count = job_count(200)
    await stack.simulate(latency_ms=[50, 300], fault_rate=0.2)
    async with flow(stack, "kill-and-fail", count) as jobs:
        await jobs.publish()
        for moment in sorted(chance.sample(range(count * 9 // 10), 2)):
            await jobs.sealed(moment)
            await stack.end("executor")
