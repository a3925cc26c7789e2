"""Versions of the tenants: who applies what, the history, and how running services follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from click.testing import Result
from support import sql
from support.logins import as_login
from support.servers import OpenHost
from support.stack_running import until
from support.tenants import apply_tenants, some_tenants
from typer.testing import CliRunner

from services.cli.main import app
from services.runtime import queries
from services.runtime.postgres import Connection
from services.runtime.settings import Settings
from services.runtime.tenants import TenantRegistry, TenantsUnreadableError
from services.runtime.topics import open_admin

_APPLY = queries.load("cli_tenants")["apply"]
_SESSIONS = sql.load("sessions")


async def waybill(settings: Settings, folder: Path, *arguments: str) -> Result:
    """Run the command; it makes an event loop of its own, so it needs a thread of its own."""
    environment = {
        "DATABASE_URL": settings.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "WAYBILL_TOPIC_PREFIX": settings.topic_prefix,
        "WAYBILL_TOPICS": orjson.dumps({"requests": {"partitions": 3}}).decode(),
        "WAYBILL_CONFIG_DIR": str(folder),
    }
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=environment)


async def topics_of(settings: Settings) -> dict[str, int]:
    """Return how many partitions each topic of the test has, without the prefix."""
    admin = await open_admin(settings)
    try:
        found = await admin.describe_topics()
    finally:
        await admin.close()
    return {
        settings.bare(t["topic"]): len(t["partitions"]) for t in found if t["topic"].startswith(settings.topic_prefix)
    }


@asynccontextmanager
async def following(registry: TenantRegistry) -> AsyncIterator[None]:
    """Follow for the length of a block."""
    task = asyncio.create_task(registry.follow())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_an_apply_makes_topics_first_and_is_remembered_with_who_and_why(
    settings: Settings, tmp_path: Path, connection: Connection
) -> None:
    (tmp_path / "tenants.yaml").write_text("version: 1\ntenants: {apart: {topics: true, budgets: {daily_usd: 5}}}\n")
    dry = await waybill(settings, tmp_path, "tenant", "apply", "--dry-run")
    assert dry.exit_code == 0
    assert "apart: added" in dry.stdout
    assert f"{settings.topic('results.apart')}: create" in dry.stdout
    assert "nothing enforces them yet" in dry.stdout
    assert (await waybill(settings, tmp_path, "tenant", "list")).stdout == "No tenants have been applied.\n"
    assert "results.apart" not in await topics_of(settings)

    assert (await waybill(settings, tmp_path, "tenant", "apply")).exit_code == 2, "a reason is wanted"
    done = await waybill(settings, tmp_path, "tenant", "apply", "--reason", "they moved in")
    assert (done.exit_code, "as number 1 of the history" in done.stdout) == (0, True)
    made = await topics_of(settings)
    assert (made["requests.apart"], made["results.apart"], made["feedback.apart"]) == (3, 12, 3)
    again = await waybill(settings, tmp_path, "tenant", "apply", "--reason", "once more")
    assert (again.exit_code, "is in force already" in again.stdout) == (0, True)

    good = (tmp_path / "tenants.yaml").read_text()
    (tmp_path / "tenants.yaml").write_text("version: 1\ntenants: {apart: {topic: true}}\n")
    broken = await waybill(settings, tmp_path, "tenant", "apply", "--reason", "a slip")
    assert broken.exit_code == 1
    assert "tenants.apart.topic" in str(broken.exception)
    (tmp_path / "tenants.yaml").write_text("version: 1\ntenants: {apart: {topics: true, regions: [eu]}}\n")
    assert "apart: regions, budgets" in (await waybill(settings, tmp_path, "tenant", "apply", "--reason", "eu")).stdout
    (tmp_path / "tenants.yaml").write_text(good)
    await waybill(settings, tmp_path, "tenant", "apply", "--reason", "back again")

    history = orjson.loads((await waybill(settings, tmp_path, "tenant", "history", "--json")).stdout)["applied"]
    assert [(row["seq"], row["reason"]) for row in history] == [(3, "back again"), (2, "eu"), (1, "they moved in")]
    assert history[0]["version"] == history[2]["version"] != history[1]["version"]
    assert {row["applied_by"] for row in history} == {await connection.fetchval("SELECT session_user")}
    listed = orjson.loads((await waybill(settings, tmp_path, "tenant", "list", "--json")).stdout)
    assert (listed["seq"], listed["tenants"]["apart"]["budgets"]["daily_usd"]) == (3, "5")


async def test_the_topics_of_tenants_in_force_are_kept_by_topics_apply_too(settings: Settings, tmp_path: Path) -> None:
    await apply_tenants(settings, tmp_path, apart={"topics": True})
    admin = await open_admin(settings)
    await admin.delete_topics([settings.topic("results.apart")])
    await admin.close()
    applied = await waybill(settings, tmp_path, "topics", "apply")
    assert f"{settings.topic('results.apart')}: create" in applied.stdout


async def test_only_people_on_call_apply_and_nobody_writes_the_history_by_hand(
    settings: Settings, logins: dict[str, str]
) -> None:
    content = some_tenants().content().decode()
    for login, may in (("oncall", True), ("classifier", False), ("recorder", False), ("analyst", False)):
        connection = await asyncpg.connect(as_login(settings.database_url, logins[login]))
        try:
            if may:
                assert await connection.fetchval(_APPLY, content, "a test") == 1
                assert await connection.fetchval(_APPLY, content, "a test") is None
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetchval(_APPLY, content, "a test")
            for statement in (
                "INSERT INTO record.tenants_applied (seq, version, applied_by, reason) VALUES (9, '', 'me', 'why')",
                "DELETE FROM record.tenants_applied",
                "UPDATE record.tenants_version SET content = '{}'",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        finally:
            await connection.close()


async def test_a_version_is_its_content_and_neither_is_ever_changed(connection: Connection) -> None:
    await connection.fetchval(_APPLY, some_tenants().content().decode(), "a test")
    for content, reason, error in (
        ("no JSON", "why", asyncpg.CheckViolationError),
        ("[]", "why", asyncpg.CheckViolationError),
        ('{"version": 1}', "  ", asyncpg.CheckViolationError),
    ):
        with pytest.raises(error):
            await connection.fetchval(_APPLY, content, reason)
    for statement in ("DELETE FROM record.tenants_applied", "UPDATE record.tenants_version SET content = '{}'"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(statement)


@pytest.mark.parametrize("told", [True, False], ids=["told", "the notification is lost"])
async def test_a_running_service_follows(
    settings: Settings, host: OpenHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    if told:
        # So long that only a notification can be behind it.
        monkeypatch.setattr("services.runtime.tenants.LOOK_EVERY_S", 600.0)
    else:
        monkeypatch.setattr(TenantRegistry, "_notified", lambda self, *_: None)
    registry = (await host("classifier")).tenants
    async with following(registry):
        for number, name in enumerate(("one", "two"), start=1):
            await apply_tenants(settings, tmp_path, **{name: {"topics": True}})
            await until_true(lambda name=name: registry.current.has_topics(name))
            assert registry.seq == number
    assert not registry.current.has_topics("one")


async def test_following_goes_on_after_the_connection_is_lost(
    settings: Settings, host: OpenHost, tmp_path: Path, connection: Connection
) -> None:
    registry = (await host("router")).tenants
    async with following(registry):
        await apply_tenants(settings, tmp_path, one={})
        await until_true(lambda: registry.seq == 1)
        assert await connection.fetchval(_SESSIONS["end_those_of"], "waybill-router") >= 1
        await apply_tenants(settings, tmp_path, two={})
        await until_true(lambda: registry.seq == 2)


async def test_a_version_of_a_newer_release_does_not_replace_the_last_good_one(
    host: OpenHost, connection: Connection
) -> None:
    opened = await host("executor")
    registry = opened.tenants
    await connection.fetchval(_APPLY, some_tenants(one={}).content().decode(), "good")
    assert await registry.refresh()
    newer: dict[str, Any] = {"version": 1, "tenants": {"one": {"of_a_newer_release": True}}}
    await connection.fetchval(_APPLY, orjson.dumps(newer).decode(), "newer")
    with pytest.raises(TenantsUnreadableError):
        await registry.refresh()
    assert registry.current.get("one") is not None
    assert "cannot be read by this release" in opened.unready["tenants"]
    with pytest.raises(TenantsUnreadableError):
        await host("recorder")
    await connection.fetchval(_APPLY, some_tenants(two={}).content().decode(), "good again")
    assert await registry.caught_up()
    assert (registry.seq, opened.unready) == (3, {})


async def until_true(condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    await until(holds, "the registry follows")
