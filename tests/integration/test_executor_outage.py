"""Postgres goes away while an answer is in hand: the answer is recorded once, whoever dies."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import orjson
import pytest
import pytest_asyncio
from executor_process import COST, PATIENCE_S, TEXT, Process, Provider, database_away
from support import sql
from support.attempts import claimed, ended
from support.flow import Flow, chain_of, content, kinds_of, seal
from support.jobs import job
from support.servers import OpenHost, Servers

from schemas.codes import ErrorCode, Status
from services.policy import Policy
from services.recorder.late import LateEntries
from services.runtime import vault
from services.runtime.host import Host
from services.runtime.ids import now
from services.runtime.ledger import verify_chain

_SQL = sql.load("executor")
ANSWERED = ["attempt_started", "attempt_finished", "validated"]


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


@pytest_asyncio.fixture
async def record_id(flow: Flow) -> UUID:
    """A record that is decided."""
    return (await flow.decided(job()))[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the executors of one machine keep their spools."""
    return tmp_path / "spool"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def dies_with_an_answer(host: OpenHost, folder: Path, record_id: UUID, servers: Servers) -> None:
    """Let a process call, lose the database, get its answer, and be ended; the database is back afterwards."""
    provider = Provider()
    process = Process(await host("executor"), folder, provider)
    await process.lease.start()
    working = asyncio.create_task(process.work(record_id))
    async with asyncio.timeout(PATIENCE_S):
        await provider.called.wait()
    async with database_away(servers.database_url, process.host.settings.database_url):
        provider.answers.set()
        await until(lambda: process.spool.outstanding == 1)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        await process.die()


async def output_of(host: Host, record_id: UUID) -> dict[str, object]:
    """Return the one output that the vault has of a record."""
    key = (await host.keyring.load([record_id]))[record_id]
    [row] = await host.pool.fetch(_SQL["outputs"], record_id)
    found: dict[str, object] = orjson.loads(key.decrypt(row["entry_id"], vault.OUTPUT, row["ciphertext"]))
    return found


def spool_files(folder: Path) -> list[Path]:
    """Return what lies in a spool folder, if there is one."""
    return list(folder.glob("*"))


async def test_while_it_is_away_the_answer_is_on_disk_and_recorded_when_it_is_back(
    flow: Flow, host: OpenHost, record_id: UUID, folder: Path, servers: Servers
) -> None:
    provider = Provider()
    process = Process(await host("executor"), folder, provider)
    await process.lease.start()
    working = asyncio.create_task(process.work(record_id))
    async with asyncio.timeout(PATIENCE_S):
        await provider.called.wait()
    async with database_away(servers.database_url, flow.host.settings.database_url):
        provider.answers.set()
        await until(lambda: process.spool.outstanding == 1)
        assert process.store.away
        assert TEXT.encode() not in process.spool.path.read_bytes()

    async with asyncio.timeout(PATIENCE_S):
        outcome = await working
    assert outcome is not None
    assert content(outcome)["status"] == Status.SUCCEEDED
    assert (await kinds_of(flow.host, record_id))[3:] == ANSWERED
    assert await process.spool.close() == 0
    assert not process.spool.path.exists()
    await process.lease.stop()


async def test_the_next_process_records_it_and_goes_on(
    flow: Flow, host: OpenHost, record_id: UUID, folder: Path, servers: Servers
) -> None:
    await dies_with_an_answer(host, folder, record_id, servers)
    silent = Provider()
    process = Process(await host("executor"), folder, silent)

    assert await process.recovery.recover() == 1
    chain = await chain_of(flow.host, record_id)
    assert [entry.kind for entry in chain[3:]] == ANSWERED
    assert verify_chain(chain) is None
    assert TEXT in str(await output_of(flow.host, record_id))
    assert spool_files(folder) == []

    [message] = process.sent
    outcome = await process.carry(message)
    assert outcome is not None
    assert content(outcome)["status"] == Status.SUCCEEDED
    assert silent.calls == 0


async def test_processes_that_recover_the_same_answer_at_the_same_time_record_it_once(
    flow: Flow, host: OpenHost, record_id: UUID, folder: Path, servers: Servers
) -> None:
    await dies_with_an_answer(host, folder, record_id, servers)
    # Copies of the file, as if no lock kept them apart; and one that dies before it can say that it is done.
    folders = [folder, *(folder.with_name(f"copy-{number}") for number in range(3))]
    for copy in folders[1:]:
        shutil.copytree(folder, copy)
    processes = [Process(await host("executor"), place, Provider()) for place in folders]

    assert await asyncio.gather(*(process.recovery.recover() for process in processes)) == [1, 1, 1, 1]
    assert (await kinds_of(flow.host, record_id))[3:] == ANSWERED
    assert TEXT in str(await output_of(flow.host, record_id))
    assert await flow.host.pool.fetch(_SQL["asides"], record_id) == []
    messages = {message.value for process in processes for message in process.sent}
    assert len(messages) == 1


async def test_an_answer_whose_record_went_on_becomes_a_late_entry_with_its_cost(
    flow: Flow, host: OpenHost, record_id: UUID, folder: Path, servers: Servers
) -> None:
    await dies_with_an_answer(host, folder, record_id, servers)
    again = await claimed(flow.host, record_id, worker=uuid4(), may_double_pay=True)
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    for place in (folder, copy):
        process = Process(await host("executor"), place, Provider())
        assert await process.recovery.recover() == 1
        assert process.sent == []

    [aside] = await flow.host.pool.fetch(_SQL["asides"], record_id)
    assert Decimal(orjson.loads(aside["data"])["cost_usd"]) == COST
    assert TEXT in str(await output_of(flow.host, record_id))
    await seal(flow.recorder, [ended(flow.host, again, Status.FAILED, ErrorCode.PROVIDER_FAILED)])
    assert await LateEntries(flow.host, now).drain() == 1
    assert (await kinds_of(flow.host, record_id))[3:] == ["attempt_started", "attempt_started", "sealed", "late_result"]


@pytest.mark.parametrize("fenced", [False, True])
async def test_of_a_record_erased_meanwhile_only_usage_and_cost_are_recorded(
    flow: Flow, host: OpenHost, record_id: UUID, folder: Path, servers: Servers, fenced: bool
) -> None:
    await dies_with_an_answer(host, folder, record_id, servers)
    await flow.host.keyring.delete([record_id])
    if fenced:
        await claimed(flow.host, record_id, worker=uuid4(), may_double_pay=True)

    assert await Process(await host("executor"), folder, Provider()).recovery.recover() == 1
    assert await flow.host.pool.fetch(_SQL["outputs"], record_id) == []
    if fenced:
        [aside] = await flow.host.pool.fetch(_SQL["asides"], record_id)
        data = orjson.loads(aside["data"])
    else:
        chain = await chain_of(flow.host, record_id)
        assert [entry.kind for entry in chain[3:]] == ANSWERED
        data = chain[4].content()["data"]
    assert Decimal(data["cost_usd"]) == COST
    assert data["usage"]["output_tokens"] == 7


async def test_a_record_erased_during_the_call_gets_no_content(
    flow: Flow, host: OpenHost, record_id: UUID, folder: Path
) -> None:
    provider = Provider()
    process = Process(await host("executor"), folder, provider)
    await process.lease.start()
    working = asyncio.create_task(process.work(record_id))
    async with asyncio.timeout(PATIENCE_S):
        await provider.called.wait()
        await flow.host.keyring.delete([record_id])
        provider.answers.set()
        await working

    assert (await kinds_of(flow.host, record_id))[3:] == ANSWERED
    assert await flow.host.pool.fetch(_SQL["outputs"], record_id) == []
    assert spool_files(folder) == [], "the database was there all the time"
    await process.lease.stop()


async def test_answers_on_disk_keep_their_worker_s_claims_its_own(
    flow: Flow, host: OpenHost, record_id: UUID, folder: Path, servers: Servers
) -> None:
    decided = flow.host.wakeups.for_chain(await chain_of(flow.host, record_id))
    assert decided is not None
    await dies_with_an_answer(host, folder, record_id, servers)
    elsewhere = Provider()
    other = Process(await host("executor"), folder.with_name("elsewhere"), elsewhere)
    await other.lease.start()

    assert await other.carry(decided) is None
    assert elsewhere.calls == 0, "paid twice although the answer was there"

    assert await Process(await host("executor"), folder, Provider()).recovery.recover() == 1
    assert (await kinds_of(flow.host, record_id))[3:] == ANSWERED
    await other.lease.stop()
