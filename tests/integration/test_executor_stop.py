"""An executor is stopped while Postgres is away and answers are in hand; the next one records them."""

from __future__ import annotations

from pathlib import Path

from executor_process import database_away
from support import sql
from support.deployment import deployed
from support.servers import Servers
from support.stack_jobs import many, new_tenant

from services.runtime.settings import Settings

_SQL = sql.load("executor")
JOBS = 8


async def test_answers_that_a_stopping_executor_holds_are_neither_lost_nor_paid_twice(
    settings: Settings, logins: dict[str, str], servers: Servers, tmp_path: Path
) -> None:
    jobs = many(new_tenant("stop"), JOBS)
    async with deployed(settings, logins, tmp_path, latency_ms=[1500, 2000]) as waybill:
        await waybill.start("classifier", "router", "recorder")
        [executor] = await waybill.start("executor", drain_timeout_s=0.1)
        await waybill.publish(jobs)

        async def calls_are_claimed() -> bool:
            [row] = await waybill.fetch(_SQL["claims"])
            return bool(row["count"] == JOBS)

        async def answers_are_spooled() -> bool:
            state = executor.host.telemetry.registry.get_sample_value
            return state("waybill_executor_state", {"name": "answers_spooled"}) == JOBS

        await waybill.until(calls_are_claimed, "all calls are claimed")
        async with database_away(servers.database_url, settings.database_url):
            await waybill.until(answers_are_spooled, "all answers are on disk")
            waybill.running.remove(executor)
            await executor.stop()
            assert [file.suffix for file in waybill.settings.spool_dir.iterdir()] == [".spool"]

        [successor] = await waybill.start("executor")
        history = await waybill.judge(jobs)

        assert len(history.charges) == JOBS, "an answer was paid twice although it was on disk"
        assert successor.counted("answer_recovered") == JOBS
        assert successor.counted("claim_in_doubt") == 0
