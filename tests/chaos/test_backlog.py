"""An executor that is away leaves a backlog, which is not a loss: the sweeper looks, and sends nothing again."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from support import sql
from support.deployment import Deployment, Running, deployed, end_offsets
from support.offsets import partitions_of
from support.stack_jobs import long_or, many, new_tenant

from schemas.topics import ROUTED_BACKGROUND, ROUTED_BATCH
from services.runtime.settings import Settings

JOBS: Final = long_or(2_000, 100_000)
AT_ONCE: Final = 5_000
LOOKS: Final = 3
_SQL: Final = sql.load("backlog")


async def test_a_backlog_is_not_swept(settings: Settings, logins: dict[str, str], tmp_path: Path) -> None:
    jobs = many(new_tenant("backlog"), JOBS)
    async with deployed(settings, logins, tmp_path, latency_ms=(0.0, 5.0)) as waybill:
        _, router = await waybill.start("classifier", "router")
        # What was recorded longer before the oldest message than that is no backlog to the sweeper.
        patience_s = max(1.0, await _first_sent(waybill, router, jobs[:1]))
        for start in range(1, JOBS, AT_ONCE):
            await waybill.publish(jobs[start : start + AT_ONCE])
            await _until_decided(waybill, router, min(start + AT_ONCE, JOBS))
        # From here on nobody but the sweeper could send anything to the executor.
        await waybill.stop()
        sent = await _routed(settings)
        assert sent >= JOBS
        # The sweeper lives in the recorder: from its start on, every record has been silent for too long.
        (recorder,) = await waybill.start("recorder", sweep_after_s=patience_s)
        for _ in range(LOOKS):
            await _until_all_were_looked_at(waybill)
        assert recorder.counted("swept") == 0
        assert await _routed(settings) == sent
        print(f"a backlog of {JOBS} decided jobs, each looked at {LOOKS} times: none was sent again")
        if long_or(1, 0):
            await waybill.start("router", "executor")
            history = await waybill.judge(jobs)
            assert len(history.charges) == JOBS


async def _first_sent(waybill: Deployment, router: Running, jobs: list[dict[str, Any]]) -> float:
    """Publish the first job, and return within how many seconds it was recorded and sent on."""
    began = time.monotonic()
    await waybill.publish(jobs)
    await _until_decided(waybill, router, len(jobs))
    return time.monotonic() - began


async def _until_decided(waybill: Deployment, router: Running, count: int) -> None:
    async def decided() -> bool:
        return router.carried >= count

    await waybill.until(decided, f"{count} jobs are decided")


async def _until_all_were_looked_at(waybill: Deployment) -> None:
    """Wait until the sweeper has put off its next look at every open record once more than by now."""
    ((latest,),) = await waybill.fetch(_SQL["latest_look"])
    ((earliest,),) = await waybill.fetch(_SQL["earliest_look"])
    while earliest <= latest:
        # However many there are, and however slow the machine: the wait is for the next of them.
        earliest = await _looked_at_more(waybill, earliest)


async def _looked_at_more(waybill: Deployment, before: datetime) -> datetime:
    earliest = before

    async def moved_on() -> bool:
        nonlocal earliest
        ((earliest,),) = await waybill.fetch(_SQL["earliest_look"])
        return bool(earliest > before)

    await waybill.until(moved_on, "the sweeper looks at open records")
    return earliest


async def _routed(settings: Settings) -> int:
    partitions = [p for topic in (ROUTED_BACKGROUND, ROUTED_BATCH) for p in await partitions_of(settings, topic)]
    return sum((await end_offsets(settings, partitions)).values())
