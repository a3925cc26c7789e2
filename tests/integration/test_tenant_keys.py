"""Tenant keys: equal content is recognised by every process, whatever master key wraps, and strangers leave nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from support import sql
from support.flow import Flow
from support.jobs import job, take_in
from support.servers import OpenHost

from services.policy import Policy
from services.runtime import tenant_keys
from services.runtime.master_keys import MasterKey, MasterKeyError, MasterKeys, WrappedKeyDamagedError
from services.runtime.tenant_keys import NOBODY, TenantKeyMissingError, TenantKeys

OLD, NEW = MasterKey(bytes(32)), MasterKey(bytes(range(32)))
_SQL = sql.load("keyring")


@pytest_asyncio.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    async with asyncpg.create_pool(database, min_size=1, max_size=4) as pool:
        yield pool


async def test_processes_that_begin_at_once_hash_alike(pool: asyncpg.Pool[Any]) -> None:
    processes = [TenantKeys(pool, MasterKeys([OLD])) for _ in range(8)]
    await asyncio.gather(*(keys.ensure(["acme", "other"]) for keys in processes))

    assert len({keys.key_hmac("acme", "order-7") for keys in processes}) == 1
    assert len({keys.key_hmac("other", "order-7") for keys in processes}) == 1
    assert await pool.fetchval(_SQL["tenants"]) == ["acme", "other"]


async def test_tenants_and_purposes_have_hashes_of_their_own(pool: asyncpg.Pool[Any]) -> None:
    keys = TenantKeys(pool, MasterKeys([OLD]))
    await keys.ensure(["acme", "other"])

    hashes = [
        keys.tenant_hmac("acme", "key", b"a"),
        keys.tenant_hmac("other", "key", b"a"),
        keys.tenant_hmac("acme", "payload", b"a"),
        keys.tenant_hmac("acme", "keya", b""),
        keys.tenant_hmac("acme", "key", b"a\0"),
    ]
    assert len(set(hashes)) == len(hashes)
    assert keys.key_hmac("acme", "\ud800") != keys.key_hmac("acme", "\ud801")


async def test_hashes_outlive_the_master_key_but_not_its_loss(pool: asyncpg.Pool[Any]) -> None:
    before = TenantKeys(pool, MasterKeys([OLD]))
    await before.ensure(["acme"])

    after = TenantKeys(pool, MasterKeys([NEW, OLD]))
    await after.ensure(["acme"])
    assert after.key_hmac("acme", "order-7") == before.key_hmac("acme", "order-7")
    with pytest.raises(MasterKeyError):
        await TenantKeys(pool, MasterKeys([NEW])).ensure(["acme"])


async def test_a_damaged_key_is_not_made_anew(pool: asyncpg.Pool[Any]) -> None:
    await TenantKeys(pool, MasterKeys([OLD])).ensure(["acme", "other"])
    await pool.execute(_SQL["swap_tenants"], "acme", "other")
    with pytest.raises(WrappedKeyDamagedError):
        await TenantKeys(pool, MasterKeys([OLD])).ensure(["acme"])


async def test_looking_for_a_tenant_makes_no_key(pool: asyncpg.Pool[Any]) -> None:
    keys = TenantKeys(pool, MasterKeys([OLD]))
    assert not await keys.find("acme")
    assert await pool.fetchval(_SQL["tenants"]) is None
    with pytest.raises(TenantKeyMissingError):
        keys.key_hmac("acme", "order-7")


async def test_a_process_keeps_a_bounded_number(pool: asyncpg.Pool[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_keys, "AT_HAND", 3)
    keys = TenantKeys(pool, MasterKeys([OLD]))
    await keys.ensure(["acme"])
    known = keys.key_hmac("acme", "order-7")
    for number in range(5):
        await keys.ensure([f"tenant{number}", f"more{number}"])
        keys.key_hmac(f"tenant{number}", "order-7")
    with pytest.raises(TenantKeyMissingError):
        keys.key_hmac("acme", "order-7")
    await keys.ensure(["acme"])
    assert keys.key_hmac("acme", "order-7") == known


async def test_messages_that_make_no_job_leave_no_key_of_the_tenant_they_name(host: OpenHost, policy: Policy) -> None:
    flow = await Flow.open(host, policy)
    for number in range(5):
        await take_in(flow.classifier, job(tenant=f"made-up-{number}", quality="as good as it gets"))
    assert await flow.host.pool.fetchval(_SQL["tenants"]) == [NOBODY]
    await take_in(flow.classifier, job(tenant="acme"))
    assert await flow.host.pool.fetchval(_SQL["tenants"]) == [NOBODY, "acme"]
