"""People are erased while jobs flow and services die: afterwards nothing of theirs is left, and all of others'.

Each job carries a canary in all that is content. Some jobs of the erased have ended, some are in work, some are unread;
some are published again afterwards. Who looks for canaries knows nothing of where content is meant to be.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import orjson
from aiokafka.admin import RecordsToDelete
from support import sql
from support.canaries import EDGE, Places, places_with
from support.erasing import A_DAY, GONE, WHY
from support.offsets import partitions_of
from support.stack_faults import Faults
from support.stack_groups import forget_members
from support.stack_history import flow
from support.stack_jobs import job, long_or, messages, new_tenant
from support.stack_running import RunningStack, until
from support.stack_topics import Tape, publish, tape

from schemas.codes import EntryKind
from services.classifier.app import NAME as CLASSIFIER
from services.executor.app import NAME as EXECUTOR
from services.recorder import erasure_log
from services.recorder.app import NAME as RECORDER
from services.router.app import NAME as ROUTER
from services.runtime import erasure, ledger, queries, vault
from services.runtime.faultpoints import FaultPoint
from services.runtime.ids import derive, now
from services.runtime.keyring import PostgresKeyring
from services.runtime.ledger import Entry
from services.runtime.master_keys import MasterKeys
from services.runtime.tenant_keys import NOBODY, TenantKeys
from services.runtime.topics import open_admin

_SQL: Final = sql.load("erasure")
_ASK: Final = queries.load("cli_erasure")
SUBJECTS: Final = long_or(40, 1_000)
BY_COMMAND: Final = 2
KILLS: Final = long_or(4, 40)
STEPS: Final = [point for point in FaultPoint if point.startswith("recorder.erasure_")]


class Person:
    """A subject. All that is content of its jobs begins with the mark of those who are erased, or who are not."""

    def __init__(self, tenant: str, mark: str) -> None:
        self.tenant = tenant
        self.mark = mark
        self.name = f"{mark}-{uuid4().hex}@example.org"

    def job(self, **fields: Any) -> dict[str, Any]:
        """Return a further job, full of canaries."""
        canary = f"{self.mark}{uuid4().hex}"
        return job(
            self.tenant,
            f"{canary}-key",
            f"Summarise: {canary} came on Monday.",
            subject=self.name,
            metadata={"of": canary},
            documents=[
                {
                    "id": f"{canary}-document",
                    "text": f"{canary} in a document",
                    "source": f"{canary}.pdf",
                    "trust": "web",
                }
            ],
            response_format=_saying(canary),
            **fields,
        )


def _saying(word: str) -> dict[str, Any]:
    """Return a format that only an answer with this word satisfies: the simulated model then says it."""
    schema = {
        "type": "object",
        "properties": {"said": {"enum": [word]}},
        "required": ["said"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


async def test_the_erased_are_gone_and_the_others_are_not(
    stack: RunningStack, faults: Faults, chance: random.Random
) -> None:
    tenant = new_tenant("erasure")
    mark = f"canary{uuid4().hex[:12]}"
    erased = [Person(tenant, mark) for _ in range(SUBJECTS)]
    others = [Person(tenant, f"other{uuid4().hex[:12]}") for _ in range(SUBJECTS // 4)]
    await stack.simulate(latency_ms=[200, 1500])
    results = await tape(stack.settings(), stack.results_topic)
    early = [person.job() for person in (*erased, *others) for _ in range(2)]

    async with flow(stack, "beside", SUBJECTS * 2) as beside, asyncio.TaskGroup() as group:
        group.create_task(beside.publish_in_step())
        await publish(stack.settings, messages(stack.settings(), early[: len(early) // 2]))
        await stack.until_sealed(tenant, len(early) // 8)
        await publish(stack.settings, messages(stack.settings(), early[len(early) // 2 :]))
        await _until_taken_in(stack, tenant, len(early))
        async with stack.frozen(CLASSIFIER):
            # What nobody has read yet when it is asked for.
            unread = [person.job() for person in erased]
            await publish(stack.settings, messages(stack.settings(), unread))
            for point in STEPS:
                faults.arm(point)  # its first passing: whatever else dies, each erasure passes it
            commands = [group.create_task(_erase_by_command(stack, person)) for person in erased[:BY_COMMAND]]
            await _ask(stack, erased[BY_COMMAND:])
            await _until_asked(stack, tenant, len(erased))
        for _ in range(KILLS):
            victim = chance.choice([CLASSIFIER, ROUTER, EXECUTOR, RECORDER])
            await stack.end(victim)
            await forget_members(stack.settings(), victim)
        await _until_erased(stack, tenant)
        printed = [await command for command in commands]
    assert all(found["complete"] and found["copies_gone_by"] for found in printed)

    jobs = [*early, *unread]
    await stack.until_done(tenant, len(jobs))
    again = [one for one in early if one["subject"] == erased[0].name]
    await publish(stack.settings, messages(stack.settings(), again))
    await _until_answered_again(results, tenant, len(again))
    await _until_erased(stack, tenant)
    await stack.until_done(tenant, len(jobs))

    chains = await _chains(stack, tenant)
    assert len(chains) == len(jobs), "published again is the same record"
    endings = Counter(_ending(chain) for chain in chains.values())
    assert endings["rejected content_erased"] == len(unread)
    assert endings["succeeded"] + endings["cancelled content_erased"] == len(early)
    print(f"{tenant}: {len(erased)} people, {len(jobs)} jobs, endings {dict(endings)}, {_late(chains)}, {KILLS} kills")
    await _judge_results(results, tenant, jobs)
    await _nothing_is_left(stack, mark)
    await _all_is_there(stack, others, early)
    lines, _ = erasure_log.read(stack.stack.folder.erasure_log)
    logged = {record_id for line in lines for record_id in line.records}
    assert {r for r, chain in chains.items() if chain[-1].kind == EntryKind.ERASED} <= logged
    await _signed_and_verified(stack)
    assert all(faults.struck(point) for point in STEPS)
    assert min(endings["succeeded"], endings["cancelled content_erased"]) > 0, "some had ended, some were in work"


# -- what is done -----------------------------------------------------------------------------------------------------


async def _erase_by_command(stack: RunningStack, person: Person) -> Any:
    arguments = ("--tenant", person.tenant, "--subject", person.name, "--reason", WHY, "--wait", "250", "--json")
    return (await stack.waybill("record", "erase", *arguments)).json()


async def _ask(stack: RunningStack, people: Sequence[Person]) -> None:
    """Ask as the command does, for more people than it could be started for."""
    async with _pool(stack) as pool:
        keys = TenantKeys(pool, MasterKeys.read(stack.stack.folder.master_key))
        assert await keys.find(NOBODY)
        for person in people:
            hmac = erasure.subject_hmac(keys, person.tenant, person.name)
            at = now()
            await pool.fetch(_ASK["ask_subject"], uuid4(), person.tenant, hmac, WHY, at, at + A_DAY)


async def _until_asked(stack: RunningStack, tenant: str, subjects: int) -> None:
    async def asked() -> bool:
        [row] = await stack.fetch(_SQL["subjects_of"], tenant)
        return int(row["subjects"]) == subjects

    await until(asked, f"the erasure of {subjects} subjects of {tenant} is asked for")


async def _until_taken_in(stack: RunningStack, tenant: str, records: int) -> None:
    async def taken_in() -> bool:
        return len(await stack.fetch(_SQL["records_of"], tenant)) >= records

    await until(taken_in, f"{records} jobs of {tenant} are taken in")


async def _until_erased(stack: RunningStack, tenant: str) -> None:
    async def done() -> bool:
        await stack.look_after(tenant)
        [row] = await stack.fetch(_SQL["under_way"])
        assert tuple(row) == (0, 0)
        return True

    await until(done, "everything asked for is erased")


async def _until_answered_again(results: Tape, tenant: str, count: int) -> None:
    """Wait until so many records have a further result that says that they are erased."""

    async def answered() -> bool:
        found = (await _by_record(results, tenant)).values()
        return sum(len(same) > 1 and same[-1]["erased"] for same in found) >= count

    await until(answered, f"{count} of {tenant} are answered again")


async def _by_record(results: Tape, tenant: str) -> dict[str, list[dict[str, Any]]]:
    """Return the results of each record, oldest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for value in await results.results_of(tenant):
        result = orjson.loads(value)
        found.setdefault(result["record_id"], []).append(result)
    return found


# -- what is left -----------------------------------------------------------------------------------------------------


async def _nothing_is_left(stack: RunningStack, mark: str) -> None:
    inside = Places.of_stack(stack)
    inside = Places(
        databases=inside.databases,
        settings=inside.settings,
        logs=inside.logs,
        metrics=inside.metrics,
        folders=[*inside.folders, stack.stack.folder.erasure_log.parent],
    )
    assert await places_with(mark, places=inside) == []
    # The edge keeps what it was given for its retention, and no longer: nothing brings it back.
    edge = Places(databases=[], settings=stack.settings(), topics=EDGE)
    assert len(await places_with(mark, places=edge)) >= 2, "canaries are found where they are: requests and results"
    await _retention_passes(stack)
    assert await places_with(mark, places=edge) == []


async def _retention_passes(stack: RunningStack) -> None:
    admin = await open_admin(stack.settings())
    try:
        for topic in EDGE:
            partitions = await partitions_of(stack.settings(), topic)
            await admin.delete_records({partition: RecordsToDelete(before_offset=-1) for partition in partitions})
    finally:
        await admin.close()


async def _all_is_there(stack: RunningStack, people: Sequence[Person], jobs: Sequence[dict[str, Any]]) -> None:
    """Every job of those who were not erased can be read, and so can its answer where there is one."""
    names = {person.name for person in people}
    expected = Counter(orjson.dumps(one) for one in jobs if one["subject"] in names)
    found: Counter[bytes] = Counter()
    async with _pool(stack) as pool:
        keyring = PostgresKeyring(pool, MasterKeys.read(stack.stack.folder.master_key))
        ids = [row["record_id"] for row in await pool.fetch(_SQL["records_of"], people[0].tenant)]
        keys = await keyring.load(ids)
        entries = {record_id: derive(record_id, EntryKind.RECEIVED, 0) for record_id in keys}
        stored = await vault.load(pool, [(r, entry, vault.JOB) for r, entry in entries.items()])
        for (record_id, _), piece in stored.items():
            found[keys[record_id].decrypt(piece.entry_id, vault.JOB, piece.ciphertext)] += 1
    assert found == expected


async def _chains(stack: RunningStack, tenant: str) -> dict[UUID, list[Entry]]:
    async with _pool(stack) as pool:
        ids = [row["record_id"] for row in await pool.fetch(_SQL["records_of"], tenant)]
        chains = await ledger.read_chains(pool, ids)
        for record_id, chain in chains.items():
            assert ledger.verify_chain(chain) is None
            if any(entry.kind == EntryKind.ERASED for entry in chain):
                row = await pool.fetchrow(_SQL["left_of"], record_id)
                assert dict(row or {}) == GONE
        return chains


def _ending(chain: Sequence[Entry]) -> str:
    sealed = next(entry for entry in chain if entry.kind == EntryKind.SEALED).content()["data"]
    return f"{sealed['status']} {sealed['error']['code'] if sealed['error'] else ''}".strip()


def _late(chains: dict[UUID, list[Entry]]) -> str:
    """Say how many answers came although their record was erased: their cost is there, their content is not."""
    late = [
        chain
        for chain in chains.values()
        if _ending(chain) == "cancelled content_erased" and any(e.kind == EntryKind.ATTEMPT_FINISHED for e in chain)
    ]
    return f"{len(late)} answers to the erased with cost alone"


async def _judge_results(results: Tape, tenant: str, jobs: Sequence[dict[str, Any]]) -> None:
    """Every job has one ending, whatever is left of its content; what is erased shows none."""
    found = await _by_record(results, tenant)
    assert len(found) == len(jobs)
    for same in found.values():
        assert len({(one["status"], one["cost_usd"], one["record_head"]["hash"]) for one in same}) == 1
        shown = [one for one in same if one["erased"]]
        assert all(one["output"] is None and one["idempotency_key"] is None and not one["metadata"] for one in shown)


async def _signed_and_verified(stack: RunningStack) -> None:
    async def signed() -> bool:
        printed = (await stack.waybill("verify", "--json")).json()
        assert printed["faults"] == [], printed
        return True

    await until(signed, "waybill verify finds nothing wrong")


@asynccontextmanager
async def _pool(stack: RunningStack) -> AsyncIterator[asyncpg.Pool[Any]]:
    pool = await asyncpg.create_pool(stack.database_url, min_size=1, max_size=2)
    try:
        yield pool
    finally:
        await pool.close()
