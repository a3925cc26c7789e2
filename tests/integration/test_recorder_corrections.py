"""A cost corrected by a person is an entry after the seal and a row of facts; the record keeps what it said before."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from uuid import UUID

import asyncpg
import orjson
import pytest
import pytest_asyncio
from click.testing import Result
from support import sql
from support.attempts import COST, claimed, ended, finished
from support.flow import Flow, chain_of, kinds_of, seal
from support.jobs import TENANT, job
from support.logins import as_login, connected
from support.servers import OpenHost
from typer.testing import CliRunner

from schemas.codes import EntryKind, Status
from schemas.entries import validate
from services.cli.main import app
from services.cli.records.correct import NoSuchAttemptError
from services.policy import Policy
from services.recorder.facts import parse, rows_of
from services.recorder.late import LateEntries
from services.runtime import queries
from services.runtime.ids import derive, now
from services.runtime.ledger import Entry, verify_chain

_SQL = sql.load("recorder")
_COMMANDS = queries.load("cli_records")
INVOICE = "INV-2026-03/17"


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


@pytest_asyncio.fixture
async def claim(flow: Flow) -> Entry:
    """The claim of a sealed record's only call, which cost :data:`COST`."""
    record_id, _ = await flow.decided(job())
    claim = await claimed(flow.host, record_id)
    answer = await finished(flow.host, claim, {"content": "yes"})
    await seal(flow.recorder, [ended(flow.host, answer, Status.SUCCEEDED)])
    return claim


async def correct(flow: Flow, record_id: UUID, by: str, *, attempt: int = 1, reference: str = INVOICE) -> Result:
    """Run the command; it makes an event loop of its own, so it needs a thread of its own."""
    words = ["record", "correct", str(record_id), "--attempt", str(attempt), "--by", by, "--reference", reference]
    settings = flow.host.settings
    addresses = {
        "DATABASE_URL": settings.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
    }
    return await asyncio.to_thread(CliRunner().invoke, app, [*words, "--json"], env=addresses)


async def drain(flow: Flow) -> int:
    return await LateEntries(flow.at("recorder"), now).drain()


async def cost(flow: Flow) -> tuple[int, Decimal]:
    [row] = await flow.host.pool.fetch(_SQL["cost_by_model"], TENANT)
    return row["calls"], row["cost_usd"]


async def test_a_correction_is_an_entry_and_reaches_the_cost_views(flow: Flow, claim: Entry) -> None:
    told = orjson.loads((await correct(flow, claim.record_id, "-0.0000356")).stdout)
    assert (told["state"], told["by_usd"]) == ("corrected", "-0.0000356")
    assert await drain(flow) == 1
    chain = await chain_of(flow.host, claim.record_id)
    assert [entry.kind for entry in chain[-2:]] == [EntryKind.SEALED, EntryKind.COST_CORRECTED]
    assert verify_chain(chain) is None
    data = chain[-1].content()["data"]
    validate(EntryKind.COST_CORRECTED, data)
    assert (data["claim"], data["reference"], data["cost_usd"]) == (str(claim.entry_id), INVOICE, "-0.0000356")
    assert data["actor"] == await flow.host.pool.fetchval(_SQL["login"])
    assert await cost(flow) == (1, Decimal(COST) - Decimal("0.0000356")), "money, and no further call"
    stored = await flow.host.pool.fetch(_SQL["attempt_facts"], claim.record_id)
    assert sorted(row["row_kind"] for row in stored) == ["attempt", "correction"]
    assert len(rows_of(parse(chain))["attempt"]) == 2, "a rebuild gives it too"


async def test_a_reference_counts_once_for_a_call_also_after_it_was_appended(flow: Flow, claim: Entry) -> None:
    states = [orjson.loads((await correct(flow, claim.record_id, "1")).stdout)["state"] for _ in range(2)]
    await drain(flow)
    states.append(orjson.loads((await correct(flow, claim.record_id, "1")).stdout)["state"])
    assert states == ["corrected", "corrected_before", "corrected_before"]
    assert (await correct(flow, claim.record_id, "2", reference="INV-2")).exit_code == 0
    await drain(flow)
    assert await cost(flow) == (1, Decimal(COST) + 3)
    assert (await kinds_of(flow.host, claim.record_id)).count(EntryKind.COST_CORRECTED) == 2


async def test_what_is_no_correction_is_refused(flow: Flow, claim: Entry) -> None:
    record_id = claim.record_id
    for by in ("0", "nan", "inf", "1e30", "ten"):
        assert (await correct(flow, record_id, by)).exit_code == 2
    assert (await correct(flow, record_id, "1", reference="a reason, in words")).exit_code == 2
    for unknown in (await correct(flow, record_id, "1", attempt=2), await correct(flow, UUID(int=1), "1")):
        assert isinstance(unknown.exception, NoSuchAttemptError)
    assert await flow.host.pool.fetchval(_SQL["aside"]) == 0


async def test_the_database_derives_the_ids_that_services_derive(flow: Flow) -> None:
    for record_id, kind, cause in ((UUID(int=7), "cost_corrected", "a:ü"), (UUID(int=2**128 - 1), "erased", "")):
        derived = await flow.host.pool.fetchval(_SQL["derived_id"], record_id, kind, cause)
        assert derived == derive(record_id, kind, cause)


async def test_only_people_on_call_may_correct(database: str, logins: dict[str, str], claim: Entry) -> None:
    async with connected(as_login(database, logins["oncall"])) as connection:
        statement = _COMMANDS["correct_cost"]
        assert await connection.fetchval(statement, claim.record_id, 1, Decimal(1), INVOICE) == "corrected"
    async with connected(as_login(database, logins["analyst"])) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetchval(statement, claim.record_id, 1, Decimal(1), INVOICE)
