"""Facts of many records of every ending are what their entries give, and a rebuild changes nothing."""

from __future__ import annotations

from typing import Final

from support import sql
from support.stack_jobs import job, long_or, messages, new_tenant
from support.stack_running import RunningStack
from support.stack_topics import publish

from services.recorder import facts

RECORDS: Final = long_or(600, 100_000)
STEP: Final = 2_000
AHEAD: Final = 4_000
SCRIPTS: Final = ("", "", "", " [[sim: fail=2]]", " [[sim: status=400]]", " [[sim: close fail=1]]", " [[sim: refuse]]")
_SQL: Final = sql.load("facts")


async def test_a_rebuild_of_many_records_is_identical(stack: RunningStack) -> None:
    tenant = new_tenant("facts")
    jobs = [
        job(
            tenant,
            f"job-{number}",
            f"Summarise note {number} for ana{number}@example.com.{SCRIPTS[number % len(SCRIPTS)]}",
            labels={"team": ("north", "south")[number % 2]},
            documents=[{"id": "d", "text": f"Parcel {number}.", "trust": "web"}] if number % 5 == 0 else [],
        )
        for number in range(RECORDS)
    ]
    for start in range(0, RECORDS, STEP):
        await stack.until_sealed(tenant, start - AHEAD)
        await publish(stack.settings, messages(stack.settings(), jobs[start : start + STEP]))
    await stack.until_done(tenant, RECORDS)
    before = await digests(stack)
    assert before["request"][1] >= RECORDS

    verified = (await stack.waybill("verify", "--facts", "--json")).json()
    assert (verified["differences"], verified["rows"]["request"]) == (0, before["request"][1])
    await stack.waybill("facts", "rebuild")
    assert await digests(stack) == before
    print(f"{verified['records']} records, rows {verified['rows']}: identical")


async def digests(stack: RunningStack) -> dict[str, tuple[str, int]]:
    """Return, by table, a digest over all its rows, and how many they are."""
    found: dict[str, tuple[str, int]] = {}
    for table in facts.TABLES:
        [row] = await stack.fetch(_SQL["digest"].format(table=table))
        found[table] = row["digest"], row["rows"]
    return found
