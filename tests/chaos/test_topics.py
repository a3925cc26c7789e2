"""Topics lose what was in them, are made again, or are read again from the beginning: Kafka is only the wake-up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from support import sql
from support.deployment import STAGES, Deployment, Running, deployed, end_offsets, until_caught_up
from support.offsets import commit, partitions_of, truncate
from support.oracle import History, faults
from support.stack_jobs import documents, long_or, many, new_tenant
from support.stack_topics import publish

from schemas.topics import CLASSIFIED, OUTCOMES, REQUESTS, ROUTED_BACKGROUND, ROUTED_BATCH, Topic
from services.runtime import topics
from services.runtime.settings import Settings

IMPATIENT: Final = {"sweep_after_s": 1.0}
"""For tests in which the sweeper has to find what was lost."""
NO_SWEEPS: Final = {"sweep_after_s": 86_400.0}
"""For tests in which nobody may need it."""
_SQL: Final = sql.load("intake")
Wipe = Callable[[Settings, Topic], Awaitable[None]]


async def _cut_off(settings: Settings, topic: Topic) -> None:
    """Remove everything in a topic, as retention would; its offsets go on."""
    ends = await end_offsets(settings, await partitions_of(settings, topic))
    await truncate(settings, topic, {partition.partition: end for partition, end in ends.items() if end})


async def _make_again(settings: Settings, topic: Topic) -> None:
    """Delete a topic and make it again: its offsets begin anew."""
    admin = await topics.open_admin(settings)
    try:
        await admin.delete_topics([settings.topic(topic.name)])
    finally:
        await admin.close()
    await topics.apply(settings)


async def test_every_offset_set_to_zero_changes_nothing(
    settings: Settings, logins: dict[str, str], tmp_path: Path
) -> None:
    jobs = many(new_tenant("zero"), long_or(300, 10_000))
    async with deployed(settings, logins, tmp_path) as waybill:
        await waybill.start(**NO_SWEEPS)
        await waybill.publish(jobs)
        before = await waybill.judge(jobs)
        entries = await _entries(waybill)
        await waybill.stop()
        for service, consumed in STAGES.items():
            for topic in consumed:
                partitions = await partitions_of(settings, topic)
                await commit(settings, service, topic, {partition.partition: 0 for partition in partitions})

        again = await waybill.start(**NO_SWEEPS)
        await until_caught_up(waybill)
        assert [one.carried >= len(jobs) for one in again] == [True] * len(again), "each read everything again"
        after = await waybill.judge(jobs)
        assert await _entries(waybill) - entries == 0
        assert len(after.charges) - len(before.charges) == 0
        assert set(after.results) == set(before.results)
        print(f"{len(jobs)} jobs read again: +0 entries, +0 charges, {_repeated(after)} results once more")


@pytest.mark.parametrize("wipe", [_cut_off, _make_again])
@pytest.mark.parametrize(
    ("before", "wiped", "after"),
    [
        (["classifier"], [CLASSIFIED], ["router", "executor", "recorder"]),
        (["classifier", "router"], [ROUTED_BACKGROUND, ROUTED_BATCH], ["executor", "recorder"]),
        (["classifier", "router", "executor"], [OUTCOMES], ["recorder"]),
    ],
    ids=["classified", "routed", "outcomes"],
)
async def test_a_topic_is_emptied_before_anybody_has_read_it(
    settings: Settings,
    logins: dict[str, str],
    tmp_path: Path,
    before: list[str],
    wiped: list[Topic],
    after: list[str],
    wipe: Wipe,
) -> None:
    jobs = many(new_tenant("wiped"), long_or(30, 1_000))
    async with deployed(settings, logins, tmp_path) as waybill:
        *_, last = await waybill.start(*before, **IMPATIENT)
        await waybill.publish(jobs)
        await _until_carried(waybill, last, len(jobs))
        for topic in wiped:
            await wipe(settings, topic)
        *_, recorder = await waybill.start(*after, **IMPATIENT)
        history = await waybill.judge(jobs)
        assert len(history.charges) == len(jobs)
        assert recorder.counted("swept") >= len(jobs)


async def test_requests_are_made_again_and_jobs_without_keys_stand_where_others_stood(
    settings: Settings, logins: dict[str, str], tmp_path: Path
) -> None:
    jobs = [{**job, "idempotency_key": None} for job in many(new_tenant("again"), long_or(20, 1_000))]
    async with deployed(settings, logins, tmp_path) as waybill:
        await waybill.start(**NO_SWEEPS)
        first = await _run_without_keys(waybill, jobs, len(jobs))
        await _make_again(settings, REQUESTS)
        await waybill.look_at_topics()
        # The same content at the same offsets: only the time says that it is another job.
        both = await _run_without_keys(waybill, jobs, 2 * len(jobs))
        assert faults(both, further_records=2 * len(jobs)) == []
        assert both.chains.keys() > first.chains.keys()
        sources = [orjson.loads(value)["source"] for value in both.results]
        places = {(source["partition"], source["offset"]) for source in sources}
        assert len(places) == len(jobs), "the new ones stand exactly where the old ones stood"
        assert len(both.charges) == 2 * len(jobs)


async def test_routed_topics_are_made_again_under_a_running_executor(
    settings: Settings, logins: dict[str, str], tmp_path: Path
) -> None:
    tenant, count = new_tenant("routed-again"), long_or(40, 1_000)
    jobs = many(tenant, 2 * count)
    async with deployed(settings, logins, tmp_path) as waybill:
        await waybill.start(**NO_SWEEPS)
        await waybill.publish(jobs[:count])
        await waybill.until_done(tenant, count)
        for topic in (ROUTED_BACKGROUND, ROUTED_BATCH):
            await _make_again(settings, topic)
        await waybill.look_at_topics()
        await waybill.publish(jobs[count:])
        history = await waybill.judge(jobs)
        assert len(history.charges) == len(jobs)


async def _run_without_keys(waybill: Deployment, jobs: Sequence[dict[str, Any]], records: int) -> History:
    """Publish jobs, each to the partition that its text chooses, and return the history of all so far."""
    settings = waybill.settings
    messages = [m for job in jobs for m in documents(settings, job["messages"][0]["content"], [job])]
    await publish(lambda: settings, messages)
    return await waybill.history(jobs, records=records)


async def _until_carried(waybill: Deployment, running: Running, count: int) -> None:
    async def carried() -> bool:
        return running.carried >= count

    await waybill.until(carried, f"{running.host.service} has carried {count} messages")


async def _entries(waybill: Deployment) -> int:
    (row,) = await waybill.fetch(_SQL["counts"])
    return int(row["entries"])


def _repeated(history: History) -> int:
    return len(history.results) - len(set(history.results))
