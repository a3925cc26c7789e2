"""`waybill facts` and `waybill export` as people run them: what they say, and with which status they end."""

from __future__ import annotations

import asyncio
import builtins
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from click.testing import Result
from support import sql
from support.flow import Flow
from support.histories import History, tell
from support.servers import OpenHost
from typer.testing import CliRunner

from services.cli.export.errors import ExtraMissingError
from services.cli.main import app
from services.policy import Policy
from services.runtime.host import Host

_SQL = sql.load("facts")
JANUARY = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


async def waybill(host: Host, *arguments: str) -> Result:
    """Run the command; it makes an event loop of its own, so it needs a thread of its own."""
    addresses = {
        "DATABASE_URL": host.settings.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": host.settings.kafka_bootstrap_servers,
    }
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=addresses)


async def test_verify_says_what_differs_and_rebuild_mends_it(flow: Flow) -> None:
    record_id = await tell(flow, History(JANUARY))
    good = await waybill(flow.host, "verify", "--facts")
    assert (good.exit_code, good.stdout) == (
        0,
        "The facts of 1 records are what their entries say; "
        "rows: 1 of request, 1 of attempt, 0 of source, 0 of feedback.\n",
    )
    await flow.host.pool.execute(
        _SQL["tamper"].format(table="request", change="cost_usd = 7, status = 'failed'", record_id=record_id)
    )
    bad = await waybill(flow.host, "verify", "--facts")
    assert bad.exit_code == 3
    assert f"facts.request {record_id}: status is failed, and the entries say succeeded" in bad.stdout
    assert f"facts.request {record_id}: cost_usd is 7, and the entries say 0.001" in bad.stdout
    told: dict[str, Any] = orjson.loads((await waybill(flow.host, "verify", "--facts", "--json")).stdout)
    assert (told["records"], told["differences"]) == (1, 2)
    assert {(d["table"], d["record_id"], d["what"]) for d in told["listed"]} == {
        ("request", str(record_id), "status"),
        ("request", str(record_id), "cost_usd"),
    }
    assert (await waybill(flow.host, "verify", "--facts", "--since", "2026-02-01")).exit_code == 0
    rebuilt = await waybill(flow.host, "facts", "rebuild", "--since", "2026-01-31")
    assert (rebuilt.exit_code, rebuilt.stdout) == (
        0,
        "2026-01: 1 of request, 1 of attempt, 0 of source, 0 of feedback\n",
    )
    assert (await waybill(flow.host, "verify", "--facts")).exit_code == 0


async def test_commands_on_an_empty_record_say_so(flow: Flow, tmp_path: Path) -> None:
    assert (await waybill(flow.host, "facts", "rebuild")).stdout == "There are no records.\n"
    assert (await waybill(flow.host, "export", "--out", str(tmp_path))).stdout == "No record has ended.\n"
    assert orjson.loads((await waybill(flow.host, "facts", "rebuild", "--json")).stdout) == {"rebuilt": []}


async def test_export_says_what_became_of_each_month(flow: Flow, tmp_path: Path) -> None:
    await tell(flow, History(JANUARY))
    await tell(flow, History(datetime.now(UTC)))
    first = await waybill(flow.host, "export", "--since", "2026-01-31", "--format", "parquet", "--out", str(tmp_path))
    assert first.exit_code == 0
    lines = first.stdout.splitlines()
    assert lines[0].startswith("2026-01: 3 rows, ")
    assert lines[0].endswith("written")
    assert lines[-1] == f"{datetime.now(UTC):%Y-%m}: still open, left out; --open exports it as it is"
    again: dict[str, Any] = orjson.loads((await waybill(flow.host, "export", "--out", str(tmp_path), "--json")).stdout)
    assert again["months"][0]["what"] == "kept"
    assert [file["relation"] for file in again["months"][0]["manifest"]["files"] if file["rows"]] == [
        "request",
        "attempt",
        "decision_reason",
    ]


async def test_export_without_its_library_says_how_to_get_it(
    flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_pyarrow(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ModuleNotFoundError(f"No module named {name!r}", name="pyarrow")
        return real(name, *arguments)

    for module in ("services.cli.export.run", "services.cli.export.parquet"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    result = await waybill(flow.host, "export", "--out", str(tmp_path / "out"))
    assert isinstance(result.exception, ExtraMissingError)
    assert "waybill[export]" in result.exception.hint
    assert not (tmp_path / "out").exists()
