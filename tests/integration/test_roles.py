"""Roles: each service may do what its statements need, and is refused everything else, on every partition too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime
from importlib import resources
from typing import Final
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from support import sql
from support.chains import chain, received
from support.databases import bring_up_to_date
from support.logins import GROUPS, SERVICES, as_login, connected

from schemas.codes import EntryKind
from services.runtime import ledger, queries
from services.runtime.ids import new_record_id
from services.runtime.migrate import require_current
from services.runtime.postgres import Connection, RoleNotGrantedError

_SQL = sql.load("roles")
_CATALOGUE = sql.load("catalogue")
_LOGINS = sql.load("databases")
_RECORDS = queries.load("cli_records")
_ERASURES = queries.load("cli_erasure")
RESTRICTED: Final = (*SERVICES, "oncall", "analyst")
KINDS: Final = {
    "classifier": {"received", "classified"},
    "router": {"decided", "released"},
    "executor": {"attempt_started", "attempt_finished", "validated", "held"},
    "recorder": {"sealed", "late_result", "cost_corrected", "feedback", "erased"},
}
EVERY_KIND: Final = sorted(set(EntryKind) | set.union(*KINDS.values()))
USERS: Final = {
    "cli_cancel": ("oncall",),
    "cli_erasure": ("oncall",),
    "cli_feedback": ("oncall",),
    "cli_records": ("oncall",),
    "cli_replay": ("oncall",),
    "erasure": ("recorder",),
    "erasure.erased": ("classifier", "recorder"),
    "erasure.refused_subjects": ("classifier",),
    "erasure.remember_subjects": ("classifier",),
    "erasure.remember_replays": ("classifier",),
    "cli_tenants": ("oncall",),
    "executor": ("executor",),
    "export": ("analyst", "oncall"),
    "facts": ("owner",),
    "facts.sealed_between": ("oncall", "owner"),
    "facts.request_between": ("oncall",),
    "facts.attempt_between": ("oncall",),
    "facts.source_between": ("oncall",),
    "facts.feedback_between": ("oncall",),
    "feedback": ("recorder",),
    "host": SERVICES,
    "intake": ("classifier",),
    "keyring.create": ("classifier",),
    "keyring.load_tenant_keys": ("classifier", "recorder"),
    "cli_content": ("oncall",),
    "keyring.record_key_for_people": ("oncall",),
    "keyring.create_tenant_keys": ("classifier",),
    "keyring.tenant_key_for_people": ("oncall",),
    "keyring.under_master_keys": ("owner",),
    "keyring.lock_rotation": ("owner",),
    "keyring.record_keys_to_rewrap": ("owner",),
    "keyring.rewrap_record_keys": ("owner",),
    "keyring.tenant_keys_to_rewrap": ("owner",),
    "keyring.rewrap_tenant_keys": ("owner",),
    "keyring.load": ("classifier", "executor", "recorder"),
    "keyring.delete": ("recorder",),
    "keyring.between": ("recorder",),
    "lease": ("executor",),
    "lease.alive": ("executor", "recorder"),
    "lease.sweep": ("recorder",),
    "ledger.append": SERVICES,
    "ledger.append_with_content": ("executor",),
    "ledger.read_chains": (*SERVICES, "oncall"),
    "migrate": (),
    "migrate.history": SERVICES,
    "migrate.ensure_partitions": ("recorder",),
    "migrate.default_partition_rows": ("recorder",),
    "docs": ("owner",),
    "notary": ("recorder",),
    "notary.system": ("recorder", "oncall"),
    "docs.columns": ("owner", "analyst", "oncall"),
    "postgres": (*SERVICES, "oncall", "owner"),
    "recorder": ("recorder",),
    "router": ("router",),
    "standalone": (),
    "tenants": (*SERVICES, "oncall"),
    "verify": ("oncall",),
    "vault.store": ("classifier", "executor"),
    "vault.load": ("classifier", "recorder"),
}
"""Who makes the statements of a file, or one of them; none by a login with rights of its own: administrators do."""
FILES: Final = sorted(file.name for file in resources.files("schemas.sql").joinpath("queries").iterdir())
STATEMENTS: Final = [
    (f"{file[:-4]}.{name}", statement, user)
    for file in FILES
    for name, statement in queries.load(file[:-4]).items()
    for user in USERS.get(f"{file[:-4]}.{name}", USERS.get(file[:-4], ("nobody is known to make it",)))
]
Login = Callable[[str], Awaitable[Connection]]


@pytest_asyncio.fixture
async def login(database: str, logins: dict[str, str]) -> AsyncIterator[Login]:
    """Opens a connection as a member of one group: ``await login("router")``."""
    async with AsyncExitStack() as stack:

        async def opened(name: str) -> Connection:
            return await stack.enter_async_context(connected(as_login(database, logins[name])))

        yield opened


async def refused(connection: Connection, statement: str, *arguments: object) -> bool:
    """Make a statement, and say whether it was refused for want of a right."""
    try:
        await connection.execute(statement, *arguments)
    except asyncpg.InsufficientPrivilegeError as error:
        return "append-only" not in str(error)  # that would be the trigger's refusal: nobody gets so far
    except asyncpg.PostgresError as error:
        raise AssertionError(f"{statement} was let through, to fail by itself: {error}") from error
    return False


# -- what has to be allowed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", sorted({user for _, _, user in STATEMENTS}))
async def test_every_statement_may_be_made_by_those_who_make_it(login: Login, user: str) -> None:
    connection = await login(user)
    for name, statement, its_user in STATEMENTS:
        if its_user == user:
            try:
                await connection.execute(_SQL["explain"].format(statement=statement))
            except asyncpg.InsufficientPrivilegeError as error:
                raise AssertionError(f"{user} may not make {name}: {error}") from error


async def test_a_login_without_a_group_is_told_what_it_lacks(login: Login) -> None:
    for service in SERVICES:
        await require_current(await login(service))
    with pytest.raises(RoleNotGrantedError):
        await require_current(await login("analyst"))


# -- append -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_appends_its_own_kinds_and_no_other(
    login: Login, logins: dict[str, str], connection: Connection, service: str
) -> None:
    service_login = await login(service)
    entries = _CATALOGUE["entries"]
    for kind in EVERY_KIND:
        one = chain(new_record_id(), [kind])
        if kind in KINDS[service]:
            await ledger.append(service_login, [one])  # whether it goes in, the fence says
            continue
        before = await connection.fetchval(entries)
        own = chain(new_record_id(), [next(iter(KINDS[service]))])
        for given in ([one], [own, one]):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=f"login {logins[service]} .* kind {kind}$"):
                await ledger.append(service_login, given)
        assert await connection.fetchval(entries) == before


async def test_a_login_in_two_groups_has_the_rights_of_both(
    database: str, login: Login, logins: dict[str, str], connection: Connection
) -> None:
    grant = {"role": GROUPS["router"], "name": logins["classifier"]}
    await connection.execute(_LOGINS["grant"].format(**grant))
    try:
        both = chain(new_record_id(), ["received", "classified", "decided"])
        assert await ledger.append(await login("classifier"), [both]) == {}
    finally:
        await connection.execute(_LOGINS["revoke"].format(**grant))


@pytest.mark.parametrize("name", ["oncall", "analyst", "owner"])
async def test_people_append_nothing(login: Login, name: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await ledger.append(await login(name), [received(new_record_id())])


async def test_objects_of_a_callers_own_do_not_come_between(login: Login, connection: Connection) -> None:
    classifier, recorder = await login("classifier"), await login("recorder")
    for caller in (classifier, recorder):
        await caller.execute(_SQL["shadow"])
    assert await ledger.append(classifier, [received(new_record_id())]) == {}
    assert await recorder.fetchval(_SQL["ensure_partitions"], date(2035, 1, 1)) == 10
    assert await connection.fetch(_CATALOGUE["uncovered"]) == []


# -- what has to be refused -------------------------------------------------------------------------------------------


def allowed(name: str, action: str, table: str) -> bool:
    """Whether a group may do something with a table of entries or facts, or one of its partitions."""
    parents = {"facts.request", "facts.attempt", "facts.source", "facts.feedback"}
    if name == "recorder" and action in ("insert", "copy"):
        return table in parents
    if action != "select":
        return False
    if name == "analyst":
        return table.startswith("facts.")
    return table == "record.entry" or (name == "oncall" and table in parents)


@pytest.mark.parametrize("name", RESTRICTED)
async def test_nothing_is_done_to_entries_and_facts_but_by_append(
    login: Login, connection: Connection, name: str
) -> None:
    recorder = await login("recorder")
    assert await recorder.fetchval(_SQL["ensure_partitions"], date(datetime.now(UTC).year + 2, 1, 1)) == 10
    tables = [row["name"] for row in await connection.fetch(_CATALOGUE["append_only"])]
    assert len(tables) == 5 * (1 + 1 + 4 + 2)  # parent, default, four months, two later ones
    group_login = await login(name)
    actions = ("select", "insert", "copy", "update", "delete", "merge", "truncate", "drop", "change_owner")
    for table in tables:
        for action in (*actions, "drop_trigger", "disable_trigger", "create_trigger", "add_column"):
            if not allowed(name, action, table):
                statement = _SQL[action].format(table=table, column="record_id")
                assert await refused(group_login, statement), f"{name}: {statement}"


@pytest.mark.parametrize("name", RESTRICTED)
async def test_what_decides_who_may_do_what_is_the_owners(login: Login, name: str) -> None:
    connection = await login(name)
    for table, column in (("record.transition", "kind"), ("record.may_write", "kind"), ("migration.applied", "name")):
        for action in ("insert", "update", "delete", "truncate", "drop", "add_column"):
            statement = _SQL[action].format(table=table, column=column)
            assert await refused(connection, statement), f"{name}: {statement}"


@pytest.mark.parametrize("name", RESTRICTED)
async def test_nobody_makes_objects_or_becomes_more_than_he_is(login: Login, name: str) -> None:
    connection = await login(name)
    alone = ("create_schema", "create_role", "as_replica", "as_owner", "grant_owner", "change_owner_of_function")
    for statement in alone:
        assert await refused(connection, _SQL[statement]), f"{name}: {statement}"
    for schema in ("migration", "record", "facts", "vault", "keyring", "public"):
        for statement in ("create_table", "create_function"):
            assert await refused(connection, _SQL[statement].format(schema=schema)), f"{name}: {statement} in {schema}"


@pytest.mark.parametrize("name", RESTRICTED)
async def test_functions_are_called_by_those_they_are_for(login: Login, name: str) -> None:
    connection = await login(name)
    callers = {
        "protect": (),
        "default_partition_used": ("recorder",),
        "set_verdict": ("oncall",),
        "ask_erasure": ("oncall",),
        "ask_erasure_of_subject": ("oncall",),
        "list_erasure": ("recorder",),
        "sealed_before": ("recorder",),
        "ask": ("oncall",),
        "ask_for": ("oncall",),
        "hand_out": ("oncall",),
        "record_key_of": ("oncall",),
        "tenant_key_of": ("oncall",),
        "append_nothing": SERVICES,
    }
    for statement, may in callers.items():
        assert await refused(connection, _SQL[statement]) == (name not in may), f"{name}: {statement}"
    partitions = await refused(connection, _SQL["ensure_partitions"], date(2035, 1, 1))
    assert partitions == (name != "recorder")


@pytest.mark.parametrize("name", RESTRICTED)
async def test_content_and_keys_are_read_by_those_who_need_them(login: Login, name: str) -> None:
    connection = await login(name)
    readers = {
        "vault.content": ("classifier", "executor", "recorder"),
        "keyring.record_key": ("classifier", "executor", "recorder"),
        "keyring.tenant_key": ("classifier", "recorder"),
    }
    for table, may in readers.items():
        for reading in ("select", "copy_to", "count"):
            assert await refused(connection, _SQL[reading].format(table=table)) == (name not in may), table
        for action in ("update", "truncate", "drop"):
            column = "wrapped" if table.startswith("keyring.") else "record_id"
            statement = _SQL[action].format(table=table, column=column)
            assert await refused(connection, statement), f"{name}: {statement}"
        # The recorder alone destroys; people ask it to.
        destroys = name == "recorder" and table != "keyring.tenant_key"
        assert await refused(connection, _SQL["delete"].format(table=table)) != destroys


@pytest.mark.parametrize("name", RESTRICTED)
async def test_what_is_erased_stays_on_the_list(login: Login, name: str) -> None:
    connection = await login(name)
    for table, column in (("record.erasure", "record_id"), ("record.erased_subject", "refuse_until")):
        for action in ("update", "delete", "truncate", "drop"):
            statement = _SQL[action].format(table=table, column=column)
            assert await refused(connection, statement), f"{name}: {statement}"


async def test_an_erasure_carries_the_login_that_asked_for_it(
    login: Login, logins: dict[str, str], connection: Connection
) -> None:
    record_id = new_record_id()
    await ledger.append(await login("classifier"), [received(record_id)])
    oncall = await login("oncall")
    unknown = new_record_id()
    rows = await oncall.fetch(_ERASURES["ask"], uuid4(), [record_id, unknown], "ticket 7")
    assert {row["record_id"]: row["state"] for row in rows} == {record_id: "asked", unknown: "unknown"}
    [row] = await connection.fetch(_SQL["erasures"])
    assert tuple(row) == (record_id, "record", "ticket 7", logins["oncall"])


@pytest.mark.parametrize("name", RESTRICTED)
async def test_the_access_log_is_read_on_call_and_written_by_nobody(login: Login, name: str) -> None:
    connection = await login(name)
    for action in ("select", "insert", "copy", "update", "delete", "merge", "truncate", "drop", "drop_trigger"):
        may = name == "oncall" and action == "select"
        statement = _SQL[action].format(table="record.access_log", column="reason")
        assert await refused(connection, statement) != may, f"{name}: {statement}"


async def test_the_access_log_refuses_change_to_anybody(connection: Connection) -> None:
    await connection.execute(_SQL["note_access"])
    for replica in (False, True):
        if replica:
            await connection.execute(_SQL["as_replica"])
        for action in ("update", "delete", "truncate", "merge"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await connection.execute(_SQL[action].format(table="record.access_log", column="reason"))


async def test_an_analyst_reaches_nothing_but_facts(login: Login, connection: Connection) -> None:
    """Whatever there is by now and later: every relation and function that is not one of the facts is refused."""
    analyst = await login("analyst")
    relations = [row["name"] for row in await connection.fetch(_SQL["relations_but_facts"])]
    assert {"vault.content", "keyring.record_key", "keyring.tenant_key", "record.entry", "record.access_log"} <= {
        *relations
    }
    for relation in relations:
        for reading in ("select", "count", "copy_to"):
            assert await refused(analyst, _SQL[reading].format(table=relation)), f"{reading} {relation}"
    callable_ = [row["name"] for row in await analyst.fetch(_SQL["callable"])]
    assert callable_ == ["facts.id_from", "facts.schema_version"]


# -- verdicts ---------------------------------------------------------------------------------------------------------


async def test_a_verdict_carries_the_login_that_gave_it_and_lands_once(
    login: Login, logins: dict[str, str], connection: Connection
) -> None:
    record_id = uuid4()
    await connection.execute(_SQL["hold"], record_id)
    oncall = await login("oncall")
    assert await oncall.fetch(_RECORDS["set_verdict"], record_id, 2, "retry") == [], "another hold"
    assert [row["record_id"] for row in await oncall.fetch(_RECORDS["set_verdict"], record_id, 3, "retry")] == [
        record_id
    ]
    assert await oncall.fetch(_RECORDS["set_verdict"], record_id, 3, "charged") == [], "it has one"
    assert tuple(await connection.fetchrow(_SQL["verdict"], record_id) or ()) == ("retry", logins["oncall"])


@pytest.mark.parametrize("name", RESTRICTED)
async def test_a_verdict_is_given_in_no_other_way(login: Login, name: str) -> None:
    connection = await login(name)
    for statement in ("overwrite_verdict", "overwrite_actor"):
        assert await refused(connection, _SQL[statement]), f"{name}: {statement}"


# -- the catalogue ----------------------------------------------------------------------------------------------------


async def test_everything_is_the_owners(database: str, login: Login, connection: Connection) -> None:
    await bring_up_to_date(database)  # once more, by a superuser
    await (await login("recorder")).execute(_SQL["ensure_partitions"], date(2035, 1, 1))
    assert await connection.fetch(_SQL["foreign_owners"]) == []


async def test_nothing_is_everybodys(connection: Connection) -> None:
    assert await connection.fetch(_SQL["public_rights"]) == []


async def test_nobody_has_a_right_on_a_partition(login: Login, connection: Connection) -> None:
    await (await login("recorder")).execute(_SQL["ensure_partitions"], date(2035, 1, 1))
    assert await connection.fetch(_SQL["rights_on_partitions"]) == []


async def test_functions_with_the_owners_rights_pin_their_search_path(connection: Connection) -> None:
    names = [row[0] for row in await connection.fetch(_SQL["with_owners_rights"])]
    assert names == [
        "append",
        "apply_tenants",
        "ask",
        "ask_erasure",
        "ask_erasure_of_subject",
        "ask_for",
        "correct_cost",
        "default_partition_used",
        "ensure_partitions",
        "family",
        "hand_out",
        "id_from",
        "keepable",
        "record_key_of",
        "schema_version",
        "sealed_before",
        "set_verdict",
        "tenant_key_of",
    ]
    assert await connection.fetch(_SQL["unpinned"]) == []
