"""Facts are what the entries say: rebuilt they are the same, and what was changed behind their back is found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import sql
from support.flow import Flow
from support.histories import Call, History, Hold, record_id_at, tell
from support.logins import as_login
from support.servers import OpenHost

from schemas.codes import ErrorCode, FailureClass, Status
from services.cli.facts.check import Checked, Difference, check
from services.cli.facts.rebuild import RebuildError, Rebuilt, rebuild
from services.policy import Policy
from services.recorder import facts

_SQL = sql.load("facts")
_CATALOGUE = sql.load("catalogue")
JANUARY = datetime(2026, 1, 15, 12, tzinfo=UTC)
TURN = datetime(2026, 2, 1, tzinfo=UTC)
DOUBTFUL = Call(outcome="unknown", usd=None, late_usd="0.07")


Pools: TypeAlias = "dict[str, asyncpg.Pool[Any]]"


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


@pytest_asyncio.fixture
async def pools(database: str, logins: dict[str, str]) -> AsyncIterator[Pools]:
    """Who compares has the rights of on-call, and who rebuilds those of a member of the owner."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(
                asyncpg.create_pool(as_login(database, logins[name]), min_size=1, max_size=1)
            )
            for name in ("oncall", "owner")
        }


async def stored(flow: Flow) -> dict[str, list[tuple[Any, ...]]]:
    return {table: [tuple(row) for row in await flow.host.pool.fetch(_SQL[table])] for table in facts.TABLES}


async def checked(pools: Pools, since: datetime | None = None) -> tuple[Checked, list[Difference]]:
    differences: list[Difference] = []
    return await check(pools["oncall"], since=since, found=differences.append), differences


async def rebuilt(pools: Pools, since: datetime | None = None) -> dict[str, dict[str, int]]:
    months: list[Rebuilt] = []
    await rebuild(pools["owner"], since=since, done=months.append)
    return {f"{month.month:%Y-%m}": dict(month.rows) for month in months}


amounts = st.decimals(0, 10, places=12).map(lambda amount: format(amount, "f"))
tokens = st.tuples(*[st.integers(0, 2**31 - 1)] * 4)
routes = st.sampled_from(["north/small@eu", "south/large@us", "north/large@eu"])
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)


LYING_TWICE = History(TURN, steps=[Call(outcome="failed", tokens=(2**31 - 1,) * 4), Call(tokens=(2**31 - 1,) * 4)])
"""Two answers that say that they counted as many tokens as may be said."""


@st.composite
def calls(draw: st.DrawFn, *, last: bool) -> Call:
    outcome = draw(st.sampled_from(["ok", "failed", "lost", "unknown"]))
    return Call(
        route=draw(routes),
        outcome=outcome,  # type: ignore[arg-type]
        usd=draw(st.none() | amounts),
        tokens=draw(tokens),
        failure_class=None if outcome == "ok" else draw(st.sampled_from(list(FailureClass))),
        latency_ms=draw(st.integers(0, 600_000)),
        fallback=draw(st.booleans()),
        may_double_pay=draw(st.booleans()),
        valid=draw(st.none() | st.booleans()) if last and outcome == "ok" else None,
        late_usd=draw(st.none() | amounts) if outcome in ("unknown", "lost") else None,
    )


verdicts = st.tuples(
    st.sampled_from(["accepted", "edited", "re_asked", "escalated", "rejected"]),
    st.none() | st.floats(0, 1),
    st.none() | st.sampled_from(["tone", "wrong"]),
)
holds = st.builds(
    Hold, reason=st.sampled_from(["in_doubt", "outage"]), seconds=st.floats(0, 1e5).map(lambda s: round(s, 3))
)


@st.composite
def histories(draw: st.DrawFn) -> History:
    steps: list[Call | Hold] = draw(st.lists(calls(last=False) | holds, max_size=4))
    if draw(st.booleans()):
        steps.append(draw(calls(last=True)))
    status = draw(st.sampled_from(list(Status)))
    moment = TURN + timedelta(microseconds=draw(st.sampled_from([-1, 0, 1]) | st.integers(-(10**13), 10**13)))
    return History(
        received_at=moment,
        steps=steps,
        status=status,
        error=None if status is Status.SUCCEEDED else draw(st.sampled_from(list(ErrorCode))),
        tenant=draw(st.sampled_from(["acme", "bolt"])),
        labels=draw(st.dictionaries(words, words, max_size=3)),
        documents=draw(st.lists(st.sampled_from(["trusted", "web"]), max_size=3)),
        expected_usd=draw(st.none() | st.tuples(amounts, amounts, amounts)),
        replay_of=draw(st.none() | st.uuids()),
        feedback=draw(st.lists(verdicts, max_size=3, unique=True)),
        # The id is made a moment before the job counts as received.
        record_id=record_id_at(moment - timedelta(milliseconds=draw(st.integers(0, 2_000)))),
    )


@given(told=st.lists(histories(), min_size=1, max_size=4))
@example(told=[LYING_TWICE])
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_is_rebuilt_is_what_the_recorder_wrote(flow: Flow, pools: Pools, told: list[History]) -> None:
    for history in told:
        await tell(flow, history)
    before = await stored(flow)
    summary, differences = await checked(pools)
    assert differences == []
    assert summary.rows == {table: len(rows) for table, rows in before.items()}
    counts = await rebuilt(pools)
    assert await stored(flow) == before
    assert {t: sum(month[t] for month in counts.values()) for t in facts.TABLES} == summary.rows
    assert (await checked(pools))[1] == []


@pytest.mark.parametrize("table", facts.TABLES)
async def test_every_column_of_a_table_is_written(connection: asyncpg.Connection[Any], table: str) -> None:
    columns = [row["attname"] for row in await connection.fetch(_SQL["columns"], table)]
    assert sorted(columns) == sorted(facts.TABLES[table])


def test_a_record_without_an_end_has_no_facts() -> None:
    assert facts.rows_of([]) == {"request": [], "attempt": [], "source": [], "feedback": []}


@pytest.mark.parametrize(
    ("table", "change", "what", "is_now"),
    [
        ("request", "status = 'failed'", "status", "failed"),
        ("request", "cost_usd = cost_usd + 1e-12", "cost_usd", None),
        ("request", """labels = '{"team": "other"}'""", "labels", {"team": "other"}),
        ("attempt", "region = 'us'", "region", "us"),
        ("attempt", "finished_at = finished_at + interval '1 microsecond'", "finished_at", None),
        ("source", "trust = 'trusted'", "trust", "trusted"),
        ("feedback", "verdict = 'accepted'", "verdict", "accepted"),
        ("feedback", "edit_ratio = 0.3", "edit_ratio", 0.3),
    ],
)
async def test_a_changed_value_is_found(
    flow: Flow, pools: Pools, table: str, change: str, what: str, is_now: object
) -> None:
    verdict = ("edited", 0.1 + 0.2, "tone")
    history = History(JANUARY, documents=["web"], labels={"team": "search"}, feedback=[verdict])
    await tell(flow, history)
    record_id = await tell(flow, history)
    await flow.host.pool.execute(_SQL["tamper"].format(table=table, change=change, record_id=record_id))
    summary, [difference] = await checked(pools)
    assert (summary.differences, difference.table, difference.what) == (1, table, what)
    assert difference.record_id == record_id
    assert is_now is None or difference.stored == is_now
    assert difference.stored != difference.rebuilt
    assert str(record_id) in str(difference)


async def test_missing_and_extra_rows_are_found_and_mended(flow: Flow, pools: Pools) -> None:
    kept = await tell(flow, History(JANUARY, steps=[DOUBTFUL]))
    verdicts = [("edited", 0.5, None), ("rejected", None, "wrong")]
    lost = await tell(flow, History(JANUARY, documents=["web", "email"], feedback=verdicts))
    for table in facts.TABLES:
        await flow.host.pool.execute(_SQL["remove"].format(table=table, record_id=lost))
    await flow.host.pool.execute(_SQL["forge"], kept, 3)
    summary, differences = await checked(pools)
    assert {(d.table, d.record_id, d.key, d.what) for d in differences} == {
        ("request", lost, (), "missing"),
        ("attempt", lost, (3,), "missing"),
        ("source", lost, (1,), "missing"),
        ("source", lost, (2,), "missing"),
        ("feedback", lost, (6,), "missing"),
        ("feedback", lost, (7,), "missing"),
        ("attempt", kept, (99,), "extra"),
    }
    assert summary.differences == 7
    assert await rebuilt(pools) == {"2026-01": {"request": 2, "attempt": 3, "source": 2, "feedback": 2}}
    assert (await checked(pools))[1] == []


async def test_since_leaves_older_records_alone(flow: Flow, pools: Pools) -> None:
    old = await tell(flow, History(JANUARY))
    new = await tell(flow, History(JANUARY + timedelta(days=31)))
    for record_id in (old, new):
        await flow.host.pool.execute(_SQL["tamper"].format(table="request", change="attempts = 9", record_id=record_id))
    assert {d.record_id for d in (await checked(pools))[1]} == {old, new}
    summary, [difference] = await checked(pools, JANUARY + timedelta(days=1))
    assert (summary.records, difference.record_id) == (1, new)
    assert set(await rebuilt(pools, JANUARY + timedelta(days=20, hours=12))) == {"2026-02"}
    assert [d.record_id for d in (await checked(pools))[1]] == [old]


async def test_rows_written_while_a_month_is_rebuilt_are_kept(
    flow: Flow, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.cli.facts import rebuild as module

    await tell(flow, History(JANUARY))
    late = replace(History(JANUARY, documents=["web"], feedback=[("accepted", None, None)]), steps=[DOUBTFUL])
    meanwhile: list[UUID] = []
    read: Callable[..., Any] = module.read_page

    async def read_then_more(*arguments: Any) -> Any:
        page = await read(*arguments)
        if not meanwhile:
            meanwhile.append(await tell(flow, late))
        return page

    monkeypatch.setattr(module, "read_page", read_then_more)
    assert await rebuilt(pools) == {"2026-01": {"request": 2, "attempt": 3, "source": 1, "feedback": 1}}
    assert (await checked(pools))[1] == []


async def test_an_interrupted_rebuild_changes_nothing_and_the_next_one_begins_anew(
    flow: Flow, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.cli.facts import rebuild as module

    await tell(flow, History(JANUARY))
    before = await stored(flow)

    async def broken(*arguments: Any) -> Any:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(module, "rows_of", broken)
        with pytest.raises(ConnectionError):
            await rebuilt(pools)
    assert await stored(flow) == before
    assert len(await flow.host.pool.fetch(_SQL["leftovers"])) == 4
    await rebuilt(pools)
    assert await stored(flow) == before
    assert await flow.host.pool.fetch(_SQL["leftovers"]) == []


async def test_rebuilt_partitions_are_as_well_protected(flow: Flow, pools: Pools) -> None:
    await tell(flow, History(JANUARY))
    await rebuilt(pools)
    assert await flow.host.pool.fetch(_CATALOGUE["uncovered"]) == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await flow.host.pool.execute(sql.load("append_only")["delete"].format(table="facts.request"))


async def test_rows_in_a_default_partition_are_told(flow: Flow, pools: Pools) -> None:
    await tell(flow, History(JANUARY))
    await flow.host.pool.execute(_CATALOGUE["drop_partition"].format(name="facts.request_2026_01"))
    fill = await flow.host.pool.fetchval(sql.load("append_only")["fill"], "facts.request", JANUARY)
    await flow.host.pool.execute(fill)
    with pytest.raises(RebuildError, match=r"facts\.request_default holds rows of 2026_01"):
        await rebuilt(pools)


async def test_only_the_owner_may_rebuild(flow: Flow, pools: Pools) -> None:
    await tell(flow, History(JANUARY))
    with pytest.raises(RebuildError, match="2026-01 were not rebuilt: permission denied"):
        await rebuild(pools["oncall"], done=print)
