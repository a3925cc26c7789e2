"""Every way in which a job can end, as its publisher, the command line, and an analyst see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

import asyncpg
import orjson
import pytest
import pytest_asyncio
from support import sql, stack_jobs
from support.oracle import faults, read_history
from support.stack_running import RunningStack, until
from support.stack_topics import publish, tape

from schemas.result import Result

_SQL: Final = sql.load("stack")
_FAILS_AND_WAITS: Final = "[[sim: status=503 retry_after={seconds}]]"
_WAITS_S: Final = 30
"""Within this time jobs have to be taken in and called once, and within twice this time one has to be cancelled."""

# How each job ends: its status, the code of its error, and words that `waybill explain` has for it.
ENDINGS: Final[dict[str, tuple[str, str | None, str]]] = {
    "sim-ok": ("succeeded", None, "ended as succeeded"),
    "sim-slow": ("succeeded", None, "ended as succeeded"),
    "sim-failover": ("succeeded", None, "brought no answer (unavailable)"),
    "sim-refuse": ("failed", "model_refused", "brought no answer (refused)"),
    "sim-fail": ("failed", "provider_failed", "ended as failed (provider failed)"),
    "sim-malformed": ("failed", "provider_failed", "brought no answer (malformed answer)"),
    "no-such-alias": ("rejected", "no_route", "ended as rejected (no route)"),
    "schema": ("rejected", "invalid_message", "ended as rejected (invalid message)"),
    "expires": ("expired", "deadline_passed", "ended as expired (deadline passed)"),
    "cancelled-before": ("cancelled", "cancelled", "ended as cancelled (cancelled)"),
    "cancelled-after": ("cancelled", "cancelled", "ended as cancelled (cancelled)"),
}


@dataclass(frozen=True)
class Ended:
    """A tenant's jobs, one for each ending, when all have ended; keys are the names of :data:`ENDINGS`."""

    stack: RunningStack
    tenant: str
    results: dict[str, Result]
    raw: list[bytes]


@pytest_asyncio.fixture(scope="package")
async def ended(started: RunningStack) -> AsyncIterator[Ended]:
    """One job for each ending."""
    await started.simulate_nothing()
    tenant = stack_jobs.new_tenant("endings")
    results = await tape(started.settings(), started.results_topic)
    await started.waybill("cancel", "--key", f"{tenant}/cancelled-before")
    # Long enough to be taken in before it passes, and then the provider asks for more time than is left.
    soon = (datetime.now(UTC) + timedelta(seconds=_WAITS_S)).isoformat()
    jobs = [stack_jobs.job(tenant, name, alias=name) for name in ENDINGS if name.startswith(("sim-", "no-such"))]
    jobs += [
        stack_jobs.job(tenant, "schema", latency_class="soon"),
        stack_jobs.job(tenant, "expires", _FAILS_AND_WAITS.format(seconds=2 * _WAITS_S), deadline=soon),
        stack_jobs.job(tenant, "cancelled-before"),
        stack_jobs.job(tenant, "cancelled-after", _FAILS_AND_WAITS.format(seconds=_WAITS_S)),
    ]
    await publish(started.settings, stack_jobs.messages(started.settings(), jobs))
    await _cancel_between_attempts(started, tenant, "cancelled-after")
    await started.until_done(tenant, len(ENDINGS))
    raw = await results.results_of(tenant)
    parsed = [Result.model_validate_json(value) for value in raw]
    yield Ended(started, tenant, {str(result.idempotency_key): result for result in parsed}, raw)


async def _cancel_between_attempts(stack: RunningStack, tenant: str, key: str) -> None:
    async def has_failed_once() -> bool:
        (row,) = await stack.fetch(_SQL["asked_to_wait"], tenant, 1000 * _WAITS_S)
        return bool(row["attempts"])

    await until(has_failed_once, "the first attempt has failed")
    await stack.waybill("cancel", "--key", f"{tenant}/{key}")


@pytest.mark.parametrize("name", ENDINGS)
def test_the_result_says_how_it_ended(ended: Ended, name: str) -> None:
    status, code, _ = ENDINGS[name]
    result = ended.results[name]
    assert result.status == status
    assert (result.error.code if result.error else None) == code
    assert (result.output is not None) == (status == "succeeded")


async def test_the_histories_hold(ended: Ended) -> None:
    stack = ended.stack
    # A message that breaks the schema does not own the key that it names: a mended one may use it.
    keys = [name for name in ENDINGS if name != "schema"]
    history = await read_history(
        stack.database_url, stack.charges, stack.stack.folder.master_key, ended.tenant, keys, ended.raw
    )
    assert faults(history, further_records=1) == []


def test_what_each_of_them_cost(ended: Ended) -> None:
    results = ended.results
    assert results["sim-failover"].fallbacks_taken > 0
    assert results["sim-failover"].route is not None
    assert results["sim-failover"].route["provider"] == "simulator-b"
    assert all(float(results[name].cost_usd) > 0 for name in ("sim-ok", "sim-slow", "sim-failover", "sim-refuse"))
    assert all(results[name].attempts == 0 for name in ("no-such-alias", "schema", "cancelled-before"))
    assert results["cancelled-after"].attempts >= 1
    assert results["expires"].attempts == 1


async def test_explain_says_so_in_words(ended: Ended) -> None:
    ids = {name: str(result.record_id) for name, result in ended.results.items()}
    printed = await ended.stack.waybill("explain", *ids.values(), "--json")
    texts = {one["record_id"]: one["text"] for one in printed.json()["explanations"]}
    for name, (_, _, words) in ENDINGS.items():
        assert words in texts[ids[name]], name
    assert (await ended.stack.waybill("explain", ids["sim-ok"])).out.strip() == texts[ids["sim-ok"]]


async def test_show_says_so_entry_by_entry(ended: Ended) -> None:
    ids = {name: str(result.record_id) for name, result in ended.results.items()}
    printed = await ended.stack.waybill("record", "show", *ids.values())
    shown = {part.split()[0]: part for part in printed.out.split("record ")[1:]}
    for name, (status, code, _) in ENDINGS.items():
        sealed = next(line for line in shown[ids[name]].splitlines() if " sealed " in line)
        assert status in sealed, name
        assert code is None or code in sealed, name
        assert "the chain is intact as shown" in shown[ids[name]], name


async def test_list_selects_by_ending(ended: Ended) -> None:
    for status in {status for status, _, _ in ENDINGS.values()}:
        printed = await ended.stack.waybill("record", "list", "--tenant", ended.tenant, "--status", status, "--json")
        expected = {str(r.record_id) for name, r in ended.results.items() if ENDINGS[name][0] == status}
        assert {row["record_id"] for row in printed.json()["records"]} == expected


async def test_list_selects_by_code_failure_class_and_route(ended: Ended) -> None:
    for options, names in {
        ("--error-code", "model_refused"): {"sim-refuse"},
        ("--failure-class", "malformed_answer"): {"sim-malformed"},
        ("--route", "simulator-b/sim-ok"): {"sim-failover"},
    }.items():
        printed = await ended.stack.waybill("record", "list", "--tenant", ended.tenant, *options, "--json")
        assert {row["record_id"] for row in printed.json()["records"]} == {
            str(ended.results[name].record_id) for name in names
        }


async def test_list_prints_a_table(ended: Ended) -> None:
    printed = await ended.stack.waybill("record", "list", "--tenant", ended.tenant)
    assert all(str(result.record_id) in printed.out for result in ended.results.values())


@pytest_asyncio.fixture
async def analyst(stack: RunningStack) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The connection of a person whose login has the role of analysts."""
    name, password = f"ana_{uuid4().hex[:8]}", uuid4().hex
    await stack.fetch(_SQL["create_login"].format(name=name, password=password))
    connection = await asyncpg.connect(stack.database_url, user=name, password=password)
    yield connection
    await connection.close()
    await stack.fetch(_SQL["drop_login"].format(name=name))


async def test_an_analyst_reads_every_table_and_view_of_facts(
    stack: RunningStack, ended: Ended, analyst: asyncpg.Connection[asyncpg.Record]
) -> None:
    relations = [row["name"] for row in await stack.fetch(_SQL["facts_relations"])]
    assert {"facts.request", "facts.attempt", "facts.cost_by_model_daily", "facts.in_flight"} <= set(relations)
    for relation in relations:
        await analyst.fetch(_SQL["read_relation"].format(relation=relation))
    (row,) = await analyst.fetch(_SQL["statuses"], ended.tenant)
    assert orjson.loads(row["counts"]) == {
        status: sum(status == other for other, _, _ in ENDINGS.values()) for status, _, _ in ENDINGS.values()
    }


async def test_an_analyst_reads_no_content_no_key_and_no_entry(
    stack: RunningStack, analyst: asyncpg.Connection[asyncpg.Record]
) -> None:
    relations = [row["name"] for row in await stack.fetch(_SQL["content_relations"])]
    assert {"vault.content", "keyring.record_key", "record.entry", "record.aside"} <= set(relations)
    for relation in relations:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await analyst.fetch(_SQL["read_relation"].format(relation=relation))
