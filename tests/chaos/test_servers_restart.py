"""Kafka and PostgreSQL go away without a word while jobs flow, and come back: what was acknowledged has its result."""

from __future__ import annotations

import asyncio
import random
import signal

from support.stack_history import flow
from support.stack_jobs import job_count, long_or
from support.stack_running import RunningStack

from services.standalone.kafka import NAME as KAFKA
from services.standalone.postgres import NAME as POSTGRES


async def test_kafka_is_killed(stack: RunningStack, chance: random.Random) -> None:
    await _lose_a_server(stack, chance, KAFKA, signal.SIGKILL)


async def test_postgres_stops_immediately(stack: RunningStack, chance: random.Random) -> None:
    await _lose_a_server(stack, chance, POSTGRES, signal.SIGQUIT)


async def _lose_a_server(stack: RunningStack, chance: random.Random, name: str, number: signal.Signals) -> None:
    times = long_or(1, 50)
    count = max(job_count(300), 40 * times)
    moments = sorted(chance.sample(range(count * 8 // 10), times))
    await stack.simulate(latency_ms=[100, 400])
    async with flow(stack, f"lose-{name}", count) as jobs, asyncio.TaskGroup() as group:
        # It ends when every job is acknowledged, those that were sent while nobody answered included.
        group.create_task(jobs.publish_in_step())
        for moment in moments:
            await jobs.sealed(moment)
            await stack.end(name, number)
    await stack.until_ready()
    print(f"{name} was lost {times} times")
