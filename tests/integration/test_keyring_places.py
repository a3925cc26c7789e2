"""The vault over a keyring in the record's database, and over one in a database of its own: one suite for both."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
import pytest_asyncio
from click.testing import Result
from support import sql
from support.attempts import SENT, answered
from support.databases import new_keyring
from support.erasing import ask, erasures
from support.flow import Flow, decide, record_of, seal
from support.jobs import TENANT, job, replay, take_in
from support.logins import as_login
from support.servers import OpenHost, Servers
from typer.testing import CliRunner

from services.cli import rotation
from services.cli.main import app
from services.policy import Policy
from services.recorder.upkeep import Upkeep
from services.runtime.ids import new_record_id, now
from services.runtime.keyring import PostgresKeyring
from services.runtime.master_keys import MasterKey, MasterKeys
from services.runtime.settings import Settings
from services.runtime.tenant_keys import TenantKeys

DAMAGED = 3
OUTPUT = {"choices": [{"message": {"content": "Bonjour."}}]}
_SQL = sql.load("keyring")
_ROLES = sql.load("roles")
OLD, NEW = (base64.b64encode(secret).decode() for secret in (bytes(range(32)), bytes(32)))


@pytest_asyncio.fixture(params=["one database", "two databases"])
async def settings(request: pytest.FixtureRequest, settings: Settings, servers: Servers) -> AsyncIterator[Settings]:
    """Settings with the keyring in one place or the other; there is no second one that could be taken for it."""
    if request.param == "one database":
        yield settings
        return
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute(_SQL["no_keyring_here"])
    await connection.close()
    async with new_keyring(servers.database_url) as url:
        yield settings.model_copy(update={"keyring_database_url": url})


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


@pytest_asyncio.fixture
async def keys(settings: Settings) -> AsyncIterator[asyncpg.Pool[Any]]:
    """A superuser's pool of the keyring's database."""
    async with asyncpg.create_pool(
        settings.keyring_database_url or settings.database_url, min_size=1, max_size=4
    ) as pool:
        yield pool


class Waybill:
    """The command line of somebody."""

    def __init__(self, settings: Settings, login: str, folder: Path) -> None:
        self.master = folder / "master"
        self.master.write_text(OLD)
        self.environment: dict[str, str | None] = {
            "DATABASE_URL": as_login(settings.database_url, login),
            "KEYRING_DATABASE_URL": settings.keyring_database_url and as_login(settings.keyring_database_url, login),
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
            "WAYBILL_MASTER_KEY_FILE": str(self.master),
            "COLUMNS": "200",
        }

    async def __call__(self, *arguments: object, status: int = 0) -> Result:
        words = [str(argument) for argument in arguments]
        ended = await asyncio.to_thread(CliRunner().invoke, app, words, env=self.environment)
        assert ended.exit_code == status, (ended.output, ended.exception)
        return ended


@pytest.fixture
def oncall(settings: Settings, logins: dict[str, str], tmp_path: Path) -> Waybill:
    return Waybill(settings, logins["oncall"], tmp_path)


@pytest.fixture
def owner(settings: Settings, logins: dict[str, str], tmp_path: Path) -> Waybill:
    return Waybill(settings, logins["owner"], tmp_path)


async def an_answered_record(flow: Flow, **fields: Any) -> UUID:
    document = job(**fields)
    messages = await take_in(flow.classifier, document)
    await decide(flow.router, messages)
    await seal(flow.recorder, [await answered(flow.host, record_of(messages[0]), OUTPUT)])
    return record_of(messages[0])


# -- the pipeline -----------------------------------------------------------------------------------------------------


async def test_keys_live_in_one_place(flow: Flow, settings: Settings, keys: asyncpg.Pool[Any]) -> None:
    record_id = await an_answered_record(flow, idempotency_key="order-7")
    assert set(await PostgresKeyring(keys, MasterKeys.of(settings)).load([record_id])) == {record_id}
    assert await keys.fetchval(_SQL["tenants"]) == ["", TENANT]
    assert await flow.host.pool.fetchval(_SQL["keyrings_here"]) == (settings.keyring_database_url is None)


async def test_a_record_is_replayed_from_the_vault(flow: Flow) -> None:
    original = await an_answered_record(flow)
    [message] = await take_in(flow.classifier, replay(original))
    assert record_of(message) != original


async def test_orphans_are_swept(flow: Flow, keys: asyncpg.Pool[Any]) -> None:
    await flow.host.keyring.create([orphan := new_record_id()])
    upkeep = Upkeep(flow.at("recorder"))
    known = await an_answered_record(flow)

    assert await upkeep.sweep_orphan_keys(now() + timedelta(hours=2)) == 1
    assert set(await flow.host.keyring.load([orphan, known])) == {known}


async def test_what_is_erased_is_gone_wherever_keys_are(
    flow: Flow, settings: Settings, keys: asyncpg.Pool[Any]
) -> None:
    erased, kept = (
        await an_answered_record(flow, idempotency_key="1"),
        await an_answered_record(flow, idempotency_key="2"),
    )
    await ask(flow.host, erased)
    assert await erasures(flow).run() == 1
    assert set(await PostgresKeyring(keys, MasterKeys.of(settings)).load([erased, kept])) == {kept}
    assert await flow.host.pool.fetchval(_SQL["contents"], erased) == 0


# -- reading content --------------------------------------------------------------------------------------------------


async def test_content_is_shown_for_a_reason_which_stays(flow: Flow, oncall: Waybill, logins: dict[str, str]) -> None:
    record_id = await an_answered_record(flow, idempotency_key="order-7")
    shown = await oncall("record", "show", record_id, "--content", "--reason", " ticket 12: wrong answer\t", "--json")
    (record,) = orjson.loads(shown.stdout)["records"]
    assert [(piece["kind"], piece["seq"], piece["matches_digest"]) for piece in record["content"]] == [
        ("job", 0, True),
        ("request", 3, True),
        ("output", 4, True),
    ]
    contents = [piece["content"] for piece in record["content"]]
    assert contents == [job(idempotency_key="order-7"), orjson.loads(SENT), OUTPUT]

    rows = [tuple(row) for row in await flow.host.pool.fetch(_SQL["access_log"], record_id)]
    reason = "ticket 12: wrong answer"
    assert rows == [(logins["oncall"], reason, kind) for kind in ("job", "output", "request")]
    text = (await oncall("record", "show", "--key", f"{TENANT}/order-7")).stdout
    assert f"content read by {logins['oncall']}" in text
    assert reason in text
    assert "Bonjour" not in text
    laid_out = (await oncall("record", "show", record_id, "--content", "--reason", "again")).stdout
    assert "request of entry 3: as its entry says" in laid_out
    assert "Bonjour" in laid_out


@pytest.mark.parametrize("reason", ["", " ", "\t\n", "\u00a0\u2003", "\u200b\ufeff", "\u3000\u2060"])
async def test_without_a_reason_nothing_is_read(
    flow: Flow, oncall: Waybill, settings: Settings, logins: dict[str, str], reason: str
) -> None:
    record_id = await an_answered_record(flow)
    refused = await oncall("record", "show", record_id, "--content", "--reason", reason, status=1)
    assert "reason" in str(refused.exception)
    connection = await asyncpg.connect(as_login(settings.database_url, logins["oncall"]))
    for given in (reason, None):
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await connection.fetchval(_SQL["ask"], record_id, given)
    await connection.close()
    assert await flow.host.pool.fetch(_SQL["access_log"], record_id) == []


async def test_a_reason_nobody_asked_for_or_too_long_is_refused(flow: Flow, oncall: Waybill) -> None:
    await oncall("record", "show", uuid4(), "--reason", "curious", status=2)
    record_id = await an_answered_record(flow)
    refused = await oncall("record", "show", record_id, "--content", "--reason", "x" * 1_001, status=1)
    assert "1,000 characters" in str(refused.exception)
    assert await flow.host.pool.fetch(_SQL["access_log"], record_id) == []


async def test_who_takes_the_note_back_gets_nothing(flow: Flow, settings: Settings, logins: dict[str, str]) -> None:
    record_id = await an_answered_record(flow)
    connection = await asyncpg.connect(as_login(settings.database_url, logins["oncall"]))
    transaction = connection.transaction()
    await transaction.start()
    access = await connection.fetchval(_SQL["ask"], record_id, "to be taken back")
    assert await connection.fetch(_SQL["hand_out"], record_id, access) == []
    savepoint = connection.transaction()
    await savepoint.start()
    another = await connection.fetchval(_SQL["ask"], record_id, "in a savepoint")
    assert await connection.fetch(_SQL["hand_out"], record_id, another) == []
    await savepoint.rollback()
    assert await connection.fetch(_SQL["hand_out"], record_id, another) == []
    await transaction.rollback()
    assert await connection.fetch(_SQL["hand_out"], record_id, access) == []
    assert await connection.fetch(_SQL["ask_and_take"], record_id, "at once") == []

    access = await connection.fetchval(_SQL["ask"], record_id, "kept")
    assert len(await connection.fetch(_SQL["hand_out"], record_id, access)) == 3
    await connection.close()


async def test_a_note_serves_who_made_it_for_its_record_and_not_for_long(
    flow: Flow, settings: Settings, logins: dict[str, str]
) -> None:
    first, second = await an_answered_record(flow), await an_answered_record(flow)
    connection = await asyncpg.connect(as_login(settings.database_url, logins["oncall"]))
    for login, age, handed_out in [("oncall", 1, 3), ("oncall", 400, 0), ("recorder", 1, 0)]:
        access = uuid4()

        await flow.host.pool.execute(_SQL["forge"], access, first, logins[login], timedelta(seconds=age))
        assert len(await connection.fetch(_SQL["hand_out"], first, access)) == handed_out, (login, age)
        assert await connection.fetch(_SQL["hand_out"], second, access) == []
    await connection.close()


async def test_what_was_changed_shows_as_such(flow: Flow, oncall: Waybill) -> None:
    record_id = await an_answered_record(flow)
    await flow.host.pool.execute(sql.load("intake")["damage"], record_id, "request")
    shown = await oncall("record", "show", record_id, "--content", "--reason", "audit", status=DAMAGED)
    assert "request of entry 3: DAMAGED" in shown.stdout


async def test_what_was_erased_stays_erased(flow: Flow, oncall: Waybill, owner: Waybill) -> None:
    record_id = await an_answered_record(flow)
    await flow.host.keyring.delete([record_id])
    owner.master.write_text(f"{NEW}\n{OLD}\n")
    await owner("keys", "rotate")
    assert await flow.host.keyring.load([record_id]) == {}
    assert "has been erased" in (await oncall("record", "show", record_id, "--content", "--reason", "audit")).stdout


# -- rotation ---------------------------------------------------------------------------------------------------------


async def test_the_master_key_is_changed_while_services_run(
    flow: Flow, owner: Waybill, oncall: Waybill, keys: asyncpg.Pool[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "PAGE", 2)
    first = [await an_answered_record(flow, idempotency_key=f"order-{number}") for number in range(5)]
    both = MasterKeys.parse(f"{NEW},{OLD}", source="both")
    old = both.names[1]
    await flow.host.tenant_keys.ensure([TENANT])
    known = flow.host.tenant_keys.key_hmac(TENANT, "order-1")

    owner.environment |= {"WAYBILL_MASTER_KEY_FILE": None, "WAYBILL_MASTER_KEY": f"{NEW},{OLD}"}
    dry = orjson.loads((await owner("keys", "rotate", "--dry-run", "--json")).stdout)
    assert dry["left"] == [{"master_key": old, "records": 5, "tenants": 2}]
    assert dry["removable"] == []
    assert set(await PostgresKeyring(keys, MasterKeys.parse(OLD, source="old")).load(first)) == set(first)

    told = orjson.loads((await owner("keys", "rotate", "--json")).stdout)
    assert (told["rewrapped"], told["left"], told["removable"]) == ({"records": 5, "tenants": 2}, [], [old])
    alone = MasterKeys.parse(NEW, source="new")
    assert set(await PostgresKeyring(keys, alone).load(first)) == set(first)
    again = TenantKeys(keys, alone)
    await again.ensure([TENANT])
    assert again.key_hmac(TENANT, "order-1") == known

    # What a service wraps that still runs with the old key first comes up at the next run, and nothing else does.
    await flow.at("classifier").keyring.create([late := new_record_id()])
    more = await owner("keys", "rotate")
    assert "1 record keys and 0 tenant keys were wrapped anew" in more.stdout
    assert f"Master key {old} may be removed" in more.stdout
    assert set(await PostgresKeyring(keys, alone).load([late])) == {late}

    oncall.master.write_text(NEW)
    shown = await oncall("record", "show", "--key", f"{TENANT}/order-1", "--content", "--reason", "rotated")
    assert "as its entry says" in shown.stdout


async def test_rotations_that_meet_each_other_do_each_key_once(
    flow: Flow, keys: asyncpg.Pool[Any], settings: Settings, logins: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "PAGE", 3)
    records = [new_record_id() for _ in range(20)]
    await flow.host.keyring.create(records)
    both = MasterKeys.parse(f"{NEW},{OLD}", source="both")
    url = as_login(settings.keyring_database_url or settings.database_url, logins["owner"])
    async with asyncpg.create_pool(url, min_size=1, max_size=4) as pool:
        done = await asyncio.gather(*(rotation.rotate(pool, both, lambda _: None) for _ in range(3)))
    assert sum(one.records for one in done) == len(records)
    loaded = await PostgresKeyring(keys, MasterKeys.parse(NEW, source="new")).load(records)
    assert {r: key.secret for r, key in loaded.items()} == {
        r: key.secret for r, key in (await PostgresKeyring(keys, both).load(records)).items()
    }


async def test_a_rotation_that_was_stopped_goes_on(
    flow: Flow, keys: asyncpg.Pool[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "PAGE", 3)
    await flow.host.keyring.create([new_record_id() for _ in range(9)])
    both = MasterKeys.parse(f"{NEW},{OLD}", source="both")

    def stop(done: rotation.Rotation) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rotation.rotate(keys, both, stop)
    assert sorted(one.records for one in await rotation.in_use(keys)) == [3, 6]
    assert (await rotation.rotate(keys, both, lambda _: None)).records == 6
    assert [(one.master_key, one.records) for one in await rotation.in_use(keys)] == [(both.current.name, 9)]


async def test_what_cannot_be_opened_is_left_and_said(flow: Flow, owner: Waybill, keys: asyncpg.Pool[Any]) -> None:
    stranger = MasterKey(b"x" * 32)
    damaged, of_another, good = sorted((new_record_id() for _ in range(3)), key=lambda r: r.int)
    await flow.host.keyring.create([damaged, good])
    await PostgresKeyring(keys, MasterKeys([stranger])).create([of_another])
    await keys.execute(_SQL["damage_record_key"], damaged)

    owner.master.write_text(f"{NEW}\n{OLD}\n")
    said = (await owner("keys", "rotate", status=1)).stdout
    assert f"Master key {stranger.name}, which is not among those set: 1 record keys" in said
    assert "1 of them do not open" in said
    assert "may be removed" not in said


async def test_services_that_go_on_wrapping_under_the_old_key_are_told_of(
    flow: Flow, keys: asyncpg.Pool[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await flow.host.keyring.create([new_record_id()])
    both = MasterKeys.parse(f"{NEW},{OLD}", source="both")
    fetch = rotation._opened

    def meanwhile(*arguments: Any) -> Any:
        busy.append(asyncio.ensure_future(flow.host.keyring.create([new_record_id()])))
        return fetch(*arguments)

    busy: list[asyncio.Future[Any]] = []
    monkeypatch.setattr(rotation, "_opened", meanwhile)
    monkeypatch.setattr(rotation, "PAGE", 1)
    monkeypatch.setattr(rotation, "PASSES", 1)
    with pytest.raises(rotation.StillWrappingError):
        await rotation.rotate(keys, both, lambda _: None)
    await asyncio.gather(*busy)


# -- who may what -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", ["oncall", "analyst"])
async def test_people_reach_no_key_by_themselves(settings: Settings, logins: dict[str, str], person: str) -> None:
    url = as_login(settings.keyring_database_url or settings.database_url, logins[person])
    connection = await asyncpg.connect(url)
    for table in ("keyring.record_key", "keyring.tenant_key"):
        for action in ("select", "insert", "update", "delete", "truncate", "drop"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(_ROLES[action].format(table=table, column="wrapped"))
    await connection.close()


async def test_only_the_owner_rotates(oncall: Waybill) -> None:
    oncall.master.write_text(f"{NEW}\n{OLD}\n")
    refused = await oncall("keys", "rotate", status=1)
    assert isinstance(refused.exception, rotation.MayNotRotateError)
