"""PostgreSQL goes away from an executor with answers in hand, and then the executor dies: every answer is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from support import sql
from support.deployment import Deployment, Process, deployed
from support.fault_proxy import FaultProxy, fault_proxy
from support.stack_groups import forget_members
from support.stack_jobs import long_or, many, new_tenant

from schemas.codes import EntryKind
from services.runtime.settings import Settings

ROUNDS: Final = long_or(2, 50)
JOBS_EACH: Final = 8
_SQL: Final = sql.load("spool")


async def test_answers_in_hand_outlive_their_executor(
    settings: Settings, logins: dict[str, str], tmp_path: Path
) -> None:
    tenant, in_hand, recovered = new_tenant("spool"), 0, 0
    jobs = many(tenant, ROUNDS * JOBS_EACH)
    # So slow that most answers come when the database has gone; those that come before are no answers in hand.
    async with (
        deployed(settings, logins, tmp_path, latency_ms=(2_000.0, 3_000.0)) as waybill,
        fault_proxy(settings.database_url) as proxy,
    ):
        await waybill.start("classifier", "router", "recorder")
        for called in range(JOBS_EACH, len(jobs) + 1, JOBS_EACH):
            async with waybill.process("executor", database_url=proxy.url) as executor:
                recovered += await _recovered(waybill, executor, in_hand - recovered)
                await waybill.publish(jobs[called - JOBS_EACH : called])
                await _until_called(waybill, tenant, called)
                in_hand += await _lose_the_database(waybill, proxy, executor, tenant)
                await executor.kill()
            await forget_members(settings, "executor")
            await proxy.come_back()
        async with waybill.process("executor") as last:
            recovered += await _recovered(waybill, last, in_hand - recovered)
            history = await waybill.judge(jobs)

    print(f"{ROUNDS} executors died with {in_hand} answers in hand, and {recovered} were recorded by the next")
    assert recovered == in_hand >= ROUNDS
    entries = [entry for chain in history.chains.values() for entry in chain]
    answers = [e.content()["data"] for e in entries if e.kind == EntryKind.ATTEMPT_FINISHED]
    claims = [entry for entry in entries if entry.kind == EntryKind.ATTEMPT_STARTED]
    assert len(claims) == len(answers) == len(history.charges) == len(jobs), "no claim is open, no call was made twice"
    assert all(answer["outcome"] == "ok" and float(answer["cost_usd"]) > 0 for answer in answers)


async def _until_called(waybill: Deployment, tenant: str, count: int) -> None:
    async def called() -> bool:
        (row,) = await waybill.fetch(_SQL["calls"], tenant)
        return bool(row["begun"] == count)

    await waybill.until(called, f"{count} calls are begun")


async def _lose_the_database(waybill: Deployment, proxy: FaultProxy, executor: Process, tenant: str) -> int:
    """Take the database away from an executor, wait until it has every answer on disk, and return how many."""
    await proxy.go_away()
    (row,) = await waybill.fetch(_SQL["calls"], tenant)
    unanswered = row["begun"] - row["answered"]
    assert unanswered > 0, "calls are in flight when the database goes"

    async def all_on_disk() -> bool:
        # More, where the executor did not hear that an answer was stored: it keeps that one too.
        return bool(await executor.sample("waybill_executor_state", name="answers_spooled") >= unanswered)

    await waybill.until(all_on_disk, f"{unanswered} answers are on disk")
    return int(await executor.sample("waybill_executor_state", name="answers_spooled"))


async def _recovered(waybill: Deployment, executor: Process, expected: int) -> int:
    """Wait until a new executor has recorded what the one before had in hand, and return how many answers it counts."""

    async def all_recovered() -> bool:
        return await executor.sample("waybill_executor_events_total", event="answer_recovered") >= expected

    await waybill.until(all_recovered, f"{expected} answers are recorded")
    return int(await executor.sample("waybill_executor_events_total", event="answer_recovered"))
