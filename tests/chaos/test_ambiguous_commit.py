"""The server commits an append and the service never hears so: nothing is lost, appended twice, or called twice."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from support.deployment import Deployment, deployed
from support.fault_proxy import Decide, Exchange, Fault, FaultProxy, fault_proxy
from support.stack_jobs import long_or, many, new_tenant

from schemas.codes import EntryKind
from services.runtime.settings import Settings
from services.standalone.plan import SERVICES

LOST_EACH: Final = long_or(5, 75)
AT_ONCE: Final = 3
_APPEND: Final = "record.append("


async def test_commits_whose_answer_is_lost(
    settings: Settings, logins: dict[str, str], tmp_path: Path, chance: random.Random
) -> None:
    tenant, published = new_tenant("ambiguous"), 0
    jobs = many(tenant, 100 * LOST_EACH)
    async with AsyncExitStack() as stack:
        waybill = await stack.enter_async_context(deployed(settings, logins, tmp_path))
        proxies = [await stack.enter_async_context(fault_proxy(settings.database_url)) for _ in SERVICES]
        for name, proxy in zip(SERVICES, proxies, strict=True):
            await waybill.start(name, database_url=proxy.url)
            proxy.decide = _loses_now_and_then(proxy, chance)
        while any(len(proxy.strikes) < LOST_EACH for proxy in proxies):
            assert published < len(jobs), "commits of all services are lost"
            await waybill.publish(jobs[published : published + AT_ONCE])
            published += AT_ONCE
            await _until_sealed(waybill, tenant, published)
        history = await waybill.judge(jobs[:published])
        await waybill.stop()
    lost = {name: [strike.tag for strike in proxy.strikes] for name, proxy in zip(SERVICES, proxies, strict=True)}
    print(f"{published} jobs; answers lost: { {name: len(tags) for name, tags in lost.items()} }")
    assert all(tag is not None for tags in lost.values() for tag in tags), "each was committed"
    calls = [entry for chain in history.chains.values() for entry in chain if entry.kind == EntryKind.ATTEMPT_STARTED]
    assert len(calls) == len(history.charges) == published, "an append that is found stored is no reason to call again"


def _loses_now_and_then(proxy: FaultProxy, chance: random.Random) -> Decide:
    def decide(exchange: Exchange) -> Fault | None:
        if len(proxy.strikes) < LOST_EACH and exchange.commits(_APPEND) and chance.random() < 0.5:
            return Fault.LOSE_ANSWER
        return None

    return decide


async def _until_sealed(waybill: Deployment, tenant: str, count: int) -> None:
    async def sealed() -> bool:
        return (await waybill.progress(tenant)).sealed >= count

    await waybill.until(sealed, f"{count} records are sealed")
