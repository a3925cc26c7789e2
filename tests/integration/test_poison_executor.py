"""One record that the database refuses to append to, amid a full window of calls: it alone fails.

The claim is refused before the call, the answer after it; either way the calls of all others are recorded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import asyncpg
import pytest
from support import sql
from support.deployment import deployed
from support.stack_jobs import many, new_tenant

from schemas.codes import EntryKind, ErrorCode
from schemas.result import Result
from services.runtime.settings import Settings
from services.runtime.slices import MAX_RECORDS

_SQL: Final = sql.load("poison")


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        (EntryKind.ATTEMPT_STARTED, ["received", "classified", "decided", "sealed"]),
        (EntryKind.ATTEMPT_FINISHED, ["received", "classified", "decided", "attempt_started", "sealed"]),
    ],
)
async def test_the_executor_fails_its_record(
    settings: Settings,
    logins: dict[str, str],
    connection: asyncpg.Connection[asyncpg.Record],
    tmp_path: Path,
    kind: EntryKind,
    left: list[str],
) -> None:
    jobs = many(new_tenant("poison"), MAX_RECORDS)
    async with deployed(settings, logins, tmp_path) as waybill:
        _, router = await waybill.start("classifier", "router")
        await waybill.publish(jobs)

        async def decided() -> bool:
            return router.carried == len(jobs)

        await waybill.until(decided, "every job is decided")
        bad = await connection.fetchval(_SQL["some_record"], jobs[0]["tenant"], len(jobs) // 2)
        await connection.execute(_SQL["refuse_entry"].format(record_id=bad, kind=kind))
        await waybill.start("executor", "recorder")
        history = await waybill.judge(jobs)

    results = [Result.model_validate_json(value) for value in history.results]
    [failed] = [result for result in results if result.status != "succeeded"]
    assert failed.error is not None
    assert (failed.record_id, failed.error.code) == (bad, ErrorCode.INTERNAL)
    assert [entry.kind for entry in history.chains[bad]] == left
