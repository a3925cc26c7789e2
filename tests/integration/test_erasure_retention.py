"""Retention: what was sealed long enough ago is erased, by tenant and class, once; the rest is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from support import sql
from support.erasing import GONE, erasures, left_of, logged
from support.flow import Flow, decide, record_of, seal
from support.jobs import job, take_in
from support.servers import OpenHost
from support.tenants import Nobody, some_tenants

from schemas.codes import DataClass
from services.policy import Policy
from services.recorder import retention
from services.recorder.late import LateEntries
from services.recorder.retention import Retention, RetentionPass
from services.recorder.upkeep import Upkeep
from services.runtime.ids import now

_SQL = sql.load("erasure")


def keeping(flow: Flow, otherwise: int | None = None, **days: dict[str, int]) -> RetentionPass:
    """Return a pass over what these tenants keep for so many days, by class of data."""
    host = flow.at("recorder")
    agreed = some_tenants(**{tenant: {"retention_days": by_class} for tenant, by_class in days.items()})
    settings = host.settings.model_copy(update={"retention_days": otherwise})
    return RetentionPass(replace(host, settings=settings, tenants=Nobody(agreed)))


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


async def sealed(flow: Flow, key: str, tenant: str = "acme") -> UUID:
    """Return a record that has ended: nobody serves its job."""
    messages = await take_in(
        flow.classifier, job(idempotency_key=key, tenant=tenant, constraints={"providers": ["none"]})
    )
    await seal(flow.recorder, await decide(flow.router, messages))
    return record_of(messages[0])


async def test_each_tenants_records_are_erased_after_their_days(flow: Flow) -> None:
    records = {tenant: await sealed(flow, "k1", tenant) for tenant in ("acme", "globex", "initech")}
    [open_one] = await take_in(flow.classifier, job(idempotency_key="open", tenant="globex"))
    one_pass = keeping(flow, acme=dict.fromkeys(DataClass, 30), globex=dict.fromkeys(DataClass, 7))
    for days, gone in (
        (6, set()),
        (8, {"globex"}),
        (29, {"globex"}),
        (31, {"globex", "acme"}),
        (4000, {"globex", "acme"}),
    ):
        await one_pass.run_once(now() + timedelta(days=days))
        await erasures(flow).run()
        for tenant, record_id in records.items():
            assert (await left_of(flow.host, record_id) == GONE) == (tenant in gone), (days, tenant)
    assert (await left_of(flow.host, record_of(open_one)))["keys"] == 1, "what has not ended is kept"
    assert [line.cause for line in logged(flow.host)] == ["retention"] * 2
    while await LateEntries(flow.at("recorder"), now).drain():
        pass
    assert await one_pass.run_once(now() + timedelta(days=4000)) == 0


async def test_passes_go_in_batches_and_begin_anew_with_the_process(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    monkeypatch.setattr(retention, "BATCHES_A_RUN", 2)
    records = [await sealed(flow, f"k{n}") for n in range(5)]
    later = now() + timedelta(days=2)
    one_pass = keeping(flow, 1)
    assert [await one_pass.run_once(later) for _ in range(3)] == [4, 1, 0]
    assert await keeping(flow, 1).run_once(later) == 0, "all stand on the list"
    assert await erasures(flow).run() == 5
    for record_id in records:
        assert await left_of(flow.host, record_id) == GONE


async def test_who_hears_of_other_periods_looks_through_everything_again(flow: Flow) -> None:
    record_id = await sealed(flow, "k1")
    later = now() + timedelta(days=40)
    one_pass = keeping(flow, acme=dict.fromkeys(DataClass, 60), globex=dict.fromkeys(DataClass, 30))
    assert await one_pass.run_once(later) == 0
    agreed = some_tenants(acme={"retention_days": dict.fromkeys(DataClass, 30)})
    one_pass._host.tenants.current = agreed  # as after a `waybill tenant apply`
    assert await one_pass.run_once(later) == 1
    await erasures(flow).run()
    assert await left_of(flow.host, record_id) == GONE


def test_what_a_tenant_agreed_to_for_a_class_comes_before_the_setting() -> None:
    acme = {"retention_days": {"regulated": 7, "internal": 90}}
    retention_ = Retention(some_tenants(acme=acme, globex={}), otherwise=30)
    assert retention_.periods == [7, 30, 90]
    assert [retention_.days("acme", data_class) for data_class in DataClass] == [30, 90, 30, 7]
    assert retention_.days("acme", None) == 7, "what was never classified may be anything"
    assert retention_.days("globex", "regulated") == retention_.days("nobody", None) == 30
    forever = Retention(some_tenants(acme=acme), otherwise=None)
    assert forever.periods == [7, 90]
    assert forever.days("acme", "public") is forever.days("nobody", "regulated") is None


async def test_without_a_setting_everything_is_kept(flow: Flow) -> None:
    record_id = await sealed(flow, "k1")
    await Upkeep(flow.at("recorder")).run_once(now())
    await keeping(flow).run_once(now() + timedelta(days=4000))
    assert await erasures(flow).run() == 0
    assert (await left_of(flow.host, record_id))["keys"] == 1


async def test_a_batch_is_found_by_an_index(flow: Flow) -> None:
    async with flow.host.pool.acquire() as connection, connection.transaction():
        await connection.execute(_SQL["as_if_large"])  # these tables have a row or two
        plan = "\n".join(row[0] for row in await connection.fetch(_SQL["plan_of_pass"]))
    assert "Seq Scan" not in plan, plan
    assert "Merge Append" in plan, plan
