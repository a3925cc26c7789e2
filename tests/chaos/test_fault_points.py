"""Services die at every named place between two effects: nothing is lost, repeated, or paid twice in silence.

Several points are armed in one flow of jobs, few in one service, wherever every job passes all of them. What
proves a point is that it struck: one that its circumstances never lead to fails its test.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, Final
from uuid import UUID, uuid4

import orjson
import pytest
from support import sql
from support.erasing import GONE
from support.stack_executors import further_executors
from support.stack_faults import Faults, service_of
from support.stack_groups import forget_members
from support.stack_history import Flow, flow
from support.stack_jobs import long_or
from support.stack_running import RunningStack, until
from support.stack_topics import publish

from schemas.topics import FEEDBACK
from services.executor.app import NAME as EXECUTOR
from services.recorder.app import NAME as RECORDER
from services.runtime import queries
from services.runtime.faultpoints import FaultPoint
from services.runtime.kafka import Outgoing
from services.runtime.settings import Settings
from services.standalone.plan import SERVICES
from services.standalone.postgres import NAME as POSTGRES

_ERASURE: Final = sql.load("erasure")
_ASK: Final = queries.load("cli_erasure")
_SQL: Final = sql.load("stack")
JOBS: Final = 60
TURNS: Final = long_or(1, 10)
LOSES_TWO_ANSWERS: Final = " [[sim: close fail=2]]"
"""Charged twice without an answer, the job is held for on-call, released, and decided anew."""

LOST_WAKEUPS: Final = (
    FaultPoint.ROUTER_RELEASE_STORED,
    FaultPoint.RECORDER_SWEEP_STORED,
    FaultPoint.RECORDER_SWEEP_PRODUCED,
)
LATE_ANSWERS: Final = (FaultPoint.EXECUTOR_ASIDE_STORED, FaultPoint.RECORDER_LATE_APPENDED)
SPOOLED_ANSWERS: Final = (FaultPoint.EXECUTOR_SPOOLED, FaultPoint.EXECUTOR_RECOVERED)
ERASURES: Final = (
    FaultPoint.RECORDER_ERASURE_LOGGED,
    FaultPoint.RECORDER_ERASURE_BEGUN,
    FaultPoint.RECORDER_ERASURE_KEYS_DELETED,
)
VERDICTS: Final = (
    FaultPoint.RECORDER_FEEDBACK_POLLED,
    FaultPoint.RECORDER_FEEDBACK_STORED,
    FaultPoint.RECORDER_FEEDBACK_PRODUCED,
)
VERDICTS_GIVEN: Final = 5
GROUPS: Final = {RECORDER: [RECORDER, f"{RECORDER}-feedback"]}
"""The consumer groups of services that have others than their own name's."""
ELSEWHERE: Final = (*LOST_WAKEUPS, *LATE_ANSWERS, *SPOOLED_ANSWERS, *ERASURES, *VERDICTS)
EVERY_JOB_PASSES: Final = [point for point in FaultPoint if point not in ELSEWHERE]
OF_ONE_SERVICE: Final = long_or(2, 1)
"""How many points a flow has in one service: started again after the first, it is brought to the next."""


def _of(service: str) -> list[list[FaultPoint]]:
    points = [point for point in EVERY_JOB_PASSES if service_of(point) == service]
    return [points[start : start + OF_ONE_SERVICE] for start in range(0, len(points), OF_ONE_SERVICE)]


ROUNDS: Final = [
    tuple(point for points in together for point in points)
    for together in zip_longest(*(_of(service) for service in SERVICES), fillvalue=[])
]


@pytest.mark.parametrize("points", ROUNDS, ids=lambda points: "-".join(point.partition(".")[2] for point in points))
async def test_killed_where_every_job_passes(
    stack: RunningStack, faults: Faults, chance: random.Random, points: Sequence[FaultPoint]
) -> None:
    for _ in range(TURNS):
        half = JOBS // 2
        await stack.simulate_nothing()  # it counts how often it was asked the same, and each turn asks the same
        await stack.simulate(latency_ms=[20, 200])
        async with flow(stack, "points", JOBS, script=LOSES_TWO_ANSWERS) as jobs:
            await jobs.publish(jobs.jobs[:half])
            await jobs.sealed(chance.randrange(half // 2))
            for point in points:
                faults.arm(point)
            # The first half brings the executor and the recorder there, the second half the others, all at once.
            await jobs.publish(jobs.jobs[half:])
            await _until_struck(jobs, faults, points)


async def test_killed_where_wakeups_are_lost(stack: RunningStack, faults: Faults) -> None:
    for _ in range(TURNS):
        await stack.simulate_nothing()
        async with flow(stack, "lost-wakeups", JOBS, script=LOSES_TWO_ANSWERS) as jobs:
            await jobs.publish()
            for point in LOST_WAKEUPS:
                faults.arm(point)
            await _until_struck(jobs, faults, LOST_WAKEUPS)


async def test_killed_where_late_answers_are_recorded(stack: RunningStack, faults: Faults) -> None:
    for _ in range(TURNS):
        await stack.simulate(latency_ms=[200, 1000])
        async with flow(stack, "late", JOBS) as jobs, further_executors(stack, {}) as (further,):
            # One of the two is frozen with answers in hand, and the other goes on behind its claims.
            faults.arm(FaultPoint.EXECUTOR_ANSWERED, "STOP")
            await jobs.publish()
            await jobs.sealed(JOBS)
            for point in LATE_ANSWERS:
                faults.arm(point)
            stack.resume(EXECUTOR)
            further.resume()
            await _until_struck(jobs, faults, LATE_ANSWERS)


async def test_killed_where_answers_are_spooled(stack: RunningStack, faults: Faults) -> None:
    for _ in range(TURNS):
        async with flow(stack, "spooled", JOBS) as jobs:
            # Frozen with an answer in hand, the executor finds no database when it goes on.
            faults.arm(FaultPoint.EXECUTOR_ANSWERED, "STOP")
            await jobs.publish()
            await faults.until_struck(FaultPoint.EXECUTOR_ANSWERED)
            for point in SPOOLED_ANSWERS:
                faults.arm(point)
            async with stack.frozen(POSTGRES):
                stack.resume(EXECUTOR)
                await faults.until_struck(FaultPoint.EXECUTOR_SPOOLED)
            await _until_struck(jobs, faults, SPOOLED_ANSWERS)


async def test_killed_where_records_are_erased(stack: RunningStack, faults: Faults) -> None:
    for _ in range(TURNS):
        await stack.simulate_nothing()
        async with flow(stack, "beside-erasures", JOBS) as jobs:
            await jobs.publish()
            async with flow(stack, "erased", JOBS) as others:
                await others.publish()
                await others.sealed(JOBS)
            for point in ERASURES:
                faults.arm(point)
            records = [row["record_id"] for row in await stack.fetch(_ERASURE["records_of"], others.tenant)]
            await stack.fetch(_ASK["ask"], uuid4(), records, "a test")
            await _until_struck(jobs, faults, ERASURES)
            await until(partial(_is_erased, stack, records), "all of them are erased")


async def test_killed_where_feedback_is_taken_in(stack: RunningStack, faults: Faults) -> None:
    for _ in range(TURNS):
        async with flow(stack, "verdicts", VERDICTS_GIVEN) as jobs:
            await jobs.publish()
            await jobs.sealed(VERDICTS_GIVEN)
            for point in VERDICTS:
                faults.arm(point)
            # One and the same for each job, twice: however often it is delivered, each record tells it once.
            await publish(stack.settings, [feedback(stack.settings(), one) for one in [*jobs.jobs, *jobs.jobs]])
            await _until_struck(jobs, faults, VERDICTS)
            await until(lambda: _all_told(stack, jobs.tenant), "every verdict is told")
        assert [row[0] for row in await stack.fetch(_SQL["verdicts"], jobs.tenant)] == [1] * VERDICTS_GIVEN


def feedback(settings: Settings, job: dict[str, Any]) -> Outgoing:
    """Return the verdict on a job's answer, as a message."""
    key = job["idempotency_key"]
    document = {"schema_version": 1, "tenant": job["tenant"], "idempotency_key": key, "verdict": "accepted"}
    return Outgoing(settings.topic(FEEDBACK.name), key.encode(), orjson.dumps(document))


async def _all_told(stack: RunningStack, tenant: str) -> bool:
    return len(await stack.fetch(_SQL["verdicts"], tenant)) == VERDICTS_GIVEN


def test_every_point_is_reached_by_a_test() -> None:
    reached = [point for points in (*ROUNDS, ELSEWHERE) for point in points]
    assert sorted(reached) == sorted(FaultPoint)


async def _is_erased(stack: RunningStack, records: Sequence[UUID]) -> bool:
    """Whether nothing of some records is left, and each says so once."""
    [row] = await stack.fetch(_ERASURE["under_way"])
    said = await stack.fetch(_ERASURE["said"], records)
    left = [dict(found) for record in records for found in await stack.fetch(_ERASURE["left_of"], record)]
    return tuple(row) == (0, 0) and len(said) == len(records) and all(one == GONE for one in left)


async def _until_struck(jobs: Flow, faults: Faults, points: Sequence[FaultPoint]) -> None:
    """Wait until every point has struck, being on call meanwhile; who died there is no member of its group any more."""
    waiting = set(points)

    async def all_struck() -> bool:
        await jobs.stack.look_after(jobs.tenant)
        for point in [point for point in waiting if faults.struck(point)]:
            waiting.discard(point)
            for group in GROUPS.get(service_of(point), [service_of(point)]):
                await forget_members(jobs.stack.settings(), group)
        assert not waiting, f"{', '.join(sorted(waiting))} not reached"
        return True

    await until(all_struck, f"{', '.join(points)} strike")
