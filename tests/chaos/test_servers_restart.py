"""Kafka and PostgreSQL go away without a word while jobs flow, and come back: the services carry on."""

from __future__ import annotations

import random
import signal

from support.stack_history import flow
from support.stack_jobs import job_count
from support.stack_running import RunningStack

from services.standalone.kafka import NAME as KAFKA
from services.standalone.postgres import NAME as POSTGRES


async def test_kafka_is_killed(stack: RunningStack, chance: random.Random) -> None:
    await _lose_a_server(stack, chance, KAFKA, signal.SIGKILL)


async def test_postgres_stops_immediately(stack: RunningStack, chance: random.Random) -> None:
    await _lose_a_server(stack, chance, POSTGRES, signal.SIGQUIT)


async def _lose_a_server(stack: RunningStack, chance: random.Random, name: str, number: signal.Signals) -> None:
    count = job_count(300)
    await stack.simulate(latency_ms=[200, 500])
    async with flow(stack, f"lose-{name}", count) as jobs:
        half = count // 2
        await jobs.publish(jobs.jobs[:half])
        await jobs.sealed(chance.randrange(half // 2))
        await stack.end(name, number)
        await jobs.publish(jobs.jobs[half:])
    await stack.until_ready()
