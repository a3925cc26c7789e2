"""A router dies when it has released many records and told nobody: each is brought on all the same."""

from __future__ import annotations

from collections import Counter

from support.stack_faults import Faults
from support.stack_history import flow
from support.stack_jobs import long_or
from support.stack_running import RunningStack

from schemas.codes import EntryKind
from services.router.release import AT_ONCE
from services.runtime.faultpoints import FaultPoint

LOSES_TWO_ANSWERS = " [[sim: close fail=2]]"


async def test_what_a_dead_router_had_released_is_swept(stack: RunningStack, faults: Faults) -> None:
    count = long_or(60, 500)
    async with flow(stack, "release", count, script=LOSES_TWO_ANSWERS) as jobs:
        await jobs.publish()
        await stack.until_progress(jobs.tenant, lambda progress: progress.held == count, f"all {count} jobs held")
        swept = await stack.counted("recorder", "swept")
        faults.arm(FaultPoint.ROUTER_RELEASE_STORED)
        await stack.look_after(jobs.tenant)
        await faults.until_struck(FaultPoint.ROUTER_RELEASE_STORED)
        history = await jobs.history()
        released = Counter(
            entry.content()["recorded_at"]
            for chain in history.chains.values()
            for entry in [next(entry for entry in chain if entry.kind == EntryKind.RELEASED)]
        )
        untold = released[min(released)]
        assert untold == min(count, AT_ONCE), "one transaction released them, and nothing was sent"
        assert await stack.counted("recorder", "swept") - swept >= untold
