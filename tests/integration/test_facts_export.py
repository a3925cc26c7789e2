"""An export read back is what the tables hold, month by month, and is not written again without a reason."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from support import sql
from support.chains import appended, received
from support.flow import Flow
from support.histories import Call, History, Hold, record_id_at, tell
from support.logins import as_login
from support.servers import OpenHost

from schemas.codes import ErrorCode, Status
from services.cli.export import run as module
from services.cli.export.errors import FolderBusyError, UnexportableError
from services.cli.export.manifest import Manifest, digest_of
from services.cli.export.run import RELATIONS, Export, Month
from services.policy import Policy
from services.runtime.queries import load

Pool: TypeAlias = "asyncpg.Pool[Any]"
_SQL = sql.load("facts")
_INTAKE = load("intake")
JANUARY = datetime(2026, 1, 15, 12, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 15, 12, tzinfo=UTC)
NOW = datetime(2026, 3, 10, tzinfo=UTC)
LATE = Call(outcome="unknown", usd=None, late_usd="0.070000000000000001")


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


@pytest_asyncio.fixture
async def analyst(database: str, logins: dict[str, str]) -> AsyncIterator[Pool]:
    """Exporting needs no more rights than these."""
    async with asyncpg.create_pool(as_login(database, logins["analyst"]), min_size=1, max_size=1) as pool:
        yield pool


async def exported(
    analyst: Pool,
    out: Path,
    *,
    since: datetime | None = None,
    include_open: bool = False,
    now: datetime = NOW,
) -> list[tuple[str, str]]:
    months: list[Month] = []
    await Export(analyst, out, lambda: now).run(since=since, include_open=include_open, done=months.append)
    return [(month.name, month.what) for month in months]


def manifest(out: Path, month: str) -> Manifest:
    return Manifest.model_validate_json((out / f"{month}.json").read_bytes())


def stamps(out: Path) -> dict[str, int]:
    files = (file for file in out.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(out)): file.stat().st_mtime_ns for file in files}


async def in_database(analyst: Pool, relation: str, month: str) -> list[tuple[Any, ...]]:
    rows = await analyst.fetch(_SQL["view"].format(view=relation))
    return sorted((tuple(row) for row in rows if f"{row['received_at']:%Y-%m}" == month), key=repr)


def in_file(out: Path, relation: str, month: str) -> list[tuple[Any, ...]]:
    table = pq.read_table(out / relation / f"{month}.parquet")
    return sorted((tuple(row.values()) for row in table.to_pylist()), key=repr)


async def two_months(flow: Flow) -> None:
    first = await tell(
        flow,
        History(
            JANUARY,
            [Call(outcome="failed", usd="0", failure_class="overloaded"), Hold("outage", 30), LATE, Call(valid=True)],
            labels={"team": 'sea"rch,\n'},
            documents=("web", "trusted"),
            findings=("email",),
            reasons=("pii_present", "chosen"),
            feedback=[("edited", 1 / 3, None), ("rejected", None, "tone")],
        ),
    )
    await tell(flow, History(JANUARY, [], Status.REJECTED, ErrorCode.INVALID_MESSAGE))
    await tell(flow, History(FEBRUARY, replay_of=first))


async def test_what_is_read_back_is_what_the_tables_hold(flow: Flow, analyst: Pool, tmp_path: Path) -> None:
    await two_months(flow)
    assert await exported(analyst, tmp_path) == [("2026-01", "written"), ("2026-02", "written")]
    login = await analyst.fetchval(_SQL["login"])
    for month in ("2026-01", "2026-02"):
        said = manifest(tmp_path, month)
        assert [file.relation for file in said.files] == list(RELATIONS)
        for file in said.files:
            rows = await in_database(analyst, file.relation, month)
            assert in_file(tmp_path, file.relation, month) == rows, (month, file.relation)
            assert file.rows == len(rows)
            content = (tmp_path / file.path).read_bytes()
            assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert said.closed
        assert (said.exported_at, said.exported_by) == (NOW, login)
        assert said.start == datetime.fromisoformat(f"{month}-01T00:00:00Z")
    assert all(file.rows for file in manifest(tmp_path, "2026-01").files), "every relation had rows to compare"


async def test_columns_have_types_that_lose_nothing(flow: Flow, analyst: Pool, tmp_path: Path) -> None:
    await two_months(flow)
    await exported(analyst, tmp_path)
    schema = pq.read_schema(tmp_path / "attempt" / "2026-01.parquet")
    assert schema.field("record_id").type == pa.uuid()
    assert schema.field("started_at").type == pa.timestamp("us", tz="UTC")
    assert schema.field("cost_usd").type == pa.decimal128(38, 18)
    assert b"US dollars" in schema.field("cost_usd").metadata[b"description"]
    costs = pq.read_table(tmp_path / "attempt" / "2026-01.parquet", columns=["cost_usd"])["cost_usd"].to_pylist()
    assert f"{max(costs)}" == LATE.late_usd


async def test_every_relation_with_rows_of_its_own_is_exported(flow: Flow) -> None:
    found = {row["relname"] for row in await flow.host.pool.fetch(_SQL["of_records"])}
    # What is in flight is not a fact yet; a line of replays crosses months, and follows from request.replay_of.
    assert found == {*RELATIONS, "in_flight", "replay_lineage"}


async def test_what_has_not_changed_is_kept_and_what_has_is_replaced(flow: Flow, analyst: Pool, tmp_path: Path) -> None:
    await two_months(flow)
    await exported(analyst, tmp_path)
    before = stamps(tmp_path)
    assert await exported(analyst, tmp_path) == [("2026-01", "kept"), ("2026-02", "kept")]
    assert stamps(tmp_path) == before
    await tell(flow, History(JANUARY + timedelta(days=1), [LATE]))
    assert await exported(analyst, tmp_path) == [("2026-01", "written"), ("2026-02", "kept")]
    after = stamps(tmp_path)
    assert {name for name in after if "2026-02" in name and after[name] != before[name]} == set()
    assert len(in_file(tmp_path, "request", "2026-01")) == 3


async def test_the_same_rows_make_the_same_files(flow: Flow, analyst: Pool, tmp_path: Path) -> None:
    await two_months(flow)
    for folder in ("one", "two"):
        await exported(analyst, tmp_path / folder)
    assert manifest(tmp_path / "one", "2026-01").files == manifest(tmp_path / "two", "2026-01").files


@pytest.mark.parametrize("damage", ["missing", "changed", "no manifest", "torn manifest"])
async def test_an_incomplete_export_is_made_again(flow: Flow, analyst: Pool, tmp_path: Path, damage: str) -> None:
    await two_months(flow)
    await exported(analyst, tmp_path)
    file, said = tmp_path / "attempt" / "2026-01.parquet", tmp_path / "2026-01.json"
    good = digest_of(file)
    match damage:
        case "missing":
            file.unlink()
        case "changed":
            file.write_bytes(file.read_bytes()[:-1] + b"?")
        case "no manifest":
            said.unlink()
        case _:
            said.write_bytes(said.read_bytes()[:100])
    assert await exported(analyst, tmp_path) == [("2026-01", "written"), ("2026-02", "kept")]
    assert digest_of(file) == good


async def test_an_open_month_is_left_out_unless_asked_for(flow: Flow, analyst: Pool, tmp_path: Path) -> None:
    await two_months(flow)
    # Still February: it has not ended.
    assert await exported(analyst, tmp_path, now=FEBRUARY) == [("2026-01", "written"), ("2026-02", "open")]
    assert not (tmp_path / "2026-02.json").exists()
    # A record of January is in flight.
    flying = record_id_at(JANUARY)
    async with flow.host.pool.acquire() as connection:
        await appended(connection, received(flying))
    await flow.host.pool.execute(_INTAKE["open_records"], [flying], ["acme"], timedelta(hours=1))
    assert await exported(analyst, tmp_path / "b") == [("2026-01", "open"), ("2026-02", "written")]
    asked = await exported(analyst, tmp_path / "b", include_open=True)
    assert asked == [("2026-01", "written"), ("2026-02", "kept")]
    assert not manifest(tmp_path / "b", "2026-01").closed


async def test_a_month_that_closes_gets_a_manifest_that_says_so(flow: Flow, analyst: Pool, tmp_path: Path) -> None:
    await two_months(flow)
    await exported(analyst, tmp_path, now=FEBRUARY, include_open=True)
    assert not manifest(tmp_path, "2026-02").closed
    assert await exported(analyst, tmp_path) == [("2026-01", "kept"), ("2026-02", "written")]
    assert manifest(tmp_path, "2026-02").closed


async def test_since_names_the_month_to_begin_with(flow: Flow, analyst: Pool, tmp_path: Path) -> None:
    await two_months(flow)
    assert await exported(analyst, tmp_path, since=FEBRUARY + timedelta(days=9)) == [("2026-02", "written")]


async def test_pages_leave_nothing_out(
    flow: Flow, analyst: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for _ in range(5):
        await tell(flow, History(JANUARY, [LATE, Call()], documents=("web", "web")))
    await exported(analyst, tmp_path)
    for relation in RELATIONS:
        assert in_file(tmp_path, relation, "2026-01") == await in_database(analyst, relation, "2026-01")


async def test_an_error_leaves_the_month_as_it_was(
    flow: Flow, analyst: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_months(flow)
    await exported(analyst, tmp_path)
    before = stamps(tmp_path)
    await tell(flow, History(JANUARY, [Call(usd="1" + "0" * 21)]))  # no decimal(38, 18) holds it
    with pytest.raises(UnexportableError, match=r"facts\.request\.cost_usd"):
        await exported(analyst, tmp_path)
    assert stamps(tmp_path) == before


async def test_two_exports_never_write_into_one_folder(flow: Flow, analyst: Pool, tmp_path: Path) -> None:
    await two_months(flow)
    with (tmp_path / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FolderBusyError):
            await exported(analyst, tmp_path)
    assert (await exported(analyst, tmp_path))[0] == ("2026-01", "written")


async def test_the_manifest_is_plain_json(flow: Flow, analyst: Pool, tmp_path: Path) -> None:
    await two_months(flow)
    await exported(analyst, tmp_path)
    said = orjson.loads((tmp_path / "2026-01.json").read_bytes())
    assert (said["month"], said["start"], said["end"]) == ("2026-01", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
    assert said["source"]["attempt"]["rows"] == 4
