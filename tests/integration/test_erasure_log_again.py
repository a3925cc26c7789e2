"""After a restore: what the log names is erased again, once and for all, and subjects are refused again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest_asyncio
from support import sql
from support.erasing import GONE, ask, ask_subject, erasures, left_of, logged
from support.flow import Flow, content, decide, record_of, seal
from support.jobs import TENANT, job, replay, take_in
from support.logins import as_login
from support.servers import OpenHost

from services.cli.records import erase
from services.cli.records.erase import Found
from services.policy import Policy
from services.recorder.late import LateEntries
from services.runtime.ids import new_record_id, now

_SQL = sql.load("erasure")
RESTORED = {
    "key": "keyring.record_key",
    "content": "vault.content",
    "subject": "record.subject",
    "replay": "record.replay",
}
FORGOTTEN = ("record.erasure", "record.erased_subject", "record.aside")
JANE = "jane@example.org"


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


@asynccontextmanager
async def restored_after(flow: Flow) -> AsyncIterator[None]:
    """Do something, and have the database as a backup from before has it."""
    for name, table in RESTORED.items():
        await flow.host.pool.execute(_SQL["keep"].format(name=name, table=table))
    yield
    for table in (*FORGOTTEN, *RESTORED.values()):
        await flow.host.pool.execute(_SQL["forget"].format(table=table))
    for name, table in RESTORED.items():
        await flow.host.pool.execute(_SQL["restore"].format(name=name, table=table))


async def ended(flow: Flow, key: str, **fields: object) -> UUID:
    messages = await take_in(flow.classifier, job(idempotency_key=key, constraints={"providers": ["none"]}, **fields))
    await seal(flow.recorder, await decide(flow.router, messages))
    return record_of(messages[0])


async def from_log(flow: Flow, logins: dict[str, str], log: Path, *, wait_s: float = 60) -> Found:
    """Run the command as on-call, beside a recorder."""
    settings = flow.host.settings
    settings = settings.model_copy(update={"database_url": as_login(settings.database_url, logins["oncall"])})

    async def recorder() -> None:
        while True:
            await erasures(flow).run()
            await asyncio.sleep(0.05)

    erasing = asyncio.create_task(recorder())
    try:
        found, _ = await erase._erase(settings, [], [], None, None, log, "", dry_run=False, wait_s=wait_s)
    finally:
        erasing.cancel()
    return found


async def test_everything_in_the_log_is_erased_again(flow: Flow, logins: dict[str, str]) -> None:
    named, kept = await ended(flow, "k1"), await ended(flow, "k2")
    hers = await ended(flow, "k3", subject=JANE)
    [again] = await take_in(flow.classifier, replay(hers))
    everything = {named, hers, record_of(again)}
    async with restored_after(flow):
        await ask(flow.host, named)
        await ask_subject(flow.host, JANE)
        assert await erasures(flow).run() == 3
        late = await ended(flow, "k4")  # came after the backup was taken: the restored one does not know it
        await ask(flow.host, late)
        await erasures(flow).run()
    for record_id in everything:
        assert (await left_of(flow.host, record_id))["keys"] == 1, "the backup has it"

    log = flow.host.settings.erasure_log
    unknown = new_record_id()
    text = log.read_bytes()
    log.write_bytes(text.replace(str(late).encode(), str(unknown).encode()))
    for _ in range(2):
        found = await from_log(flow, logins, log)
        assert found.complete
        assert {record_id for record_id, state in found.records.items() if state == "unknown"} == {unknown}
        assert {r for r, state in found.records.items() if state in ("erased", "erased_before")} == everything
    for record_id in everything:
        assert await left_of(flow.host, record_id) == GONE
    assert (await left_of(flow.host, kept))["contents"] == 1

    [refused] = await take_in(flow.classifier, job(idempotency_key="k5", subject=JANE))
    assert content(refused)["error"]["code"] == "content_erased"
    subjects = [line for line in logged(flow.host) if line.subject]
    assert len({(line.tenant, line.subject, line.refuse_until) for line in subjects}) == 1, "as it was, not longer"
    assert subjects[0].tenant == TENANT
    while await LateEntries(flow.at("recorder"), now).drain():
        pass


async def test_without_a_recorder_it_says_so_and_nothing_has_to_be_asked_again(
    flow: Flow, logins: dict[str, str]
) -> None:
    record_id = await ended(flow, "k1")
    settings = flow.host.settings
    settings = settings.model_copy(update={"database_url": as_login(settings.database_url, logins["oncall"])})
    found, left = await erase._erase(settings, [record_id], [], None, None, None, "why", dry_run=True, wait_s=0)
    assert found.records == {record_id: "would_be_erased"}
    assert left.told_by_broker
    found, _ = await erase._erase(settings, [record_id], [], None, None, None, "why", dry_run=False, wait_s=0)
    assert (found.complete, found.records) == (False, {record_id: "under_way"})
    assert await erasures(flow).run() == 1
    found, _ = await erase._erase(settings, [record_id], [], None, None, None, "why", dry_run=False, wait_s=0)
    assert (found.complete, found.records) == (True, {record_id: "erased_before"})


async def test_a_subject_is_erased_by_the_command_with_the_rights_of_people(flow: Flow, logins: dict[str, str]) -> None:
    record_id = await ended(flow, "k1", subject=JANE)
    settings = flow.host.settings
    settings = settings.model_copy(update={"database_url": as_login(settings.database_url, logins["oncall"])})
    found, _ = await erase._erase(settings, [], [], TENANT, JANE, None, "why", dry_run=True, wait_s=0)
    assert found.records == {record_id: "would_be_erased"}
    found, _ = await erase._erase(settings, [], [], TENANT, JANE, None, "why", dry_run=False, wait_s=0)
    assert await erasures(flow).run() == 1
    found, _ = await erase._erase(settings, [], [], TENANT, JANE, None, "why", dry_run=False, wait_s=0)
    assert found.subject_before is not None
    assert found.records == {}
