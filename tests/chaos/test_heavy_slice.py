"""Hundreds of large jobs at once: the classifier keeps its place in the group, and takes each of them in once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from support import sql
from support.deployment import Deployment, Process, deployed
from support.stack_groups import is_shared_by, members
from support.stack_jobs import job, long_or, new_tenant

from schemas.topics import KIB, MIB
from services.runtime.settings import Settings

JOBS: Final = long_or(60, 500)
BYTES: Final = 400 * KIB
MAX_MEMORY: Final = 1024 * MIB
"""What the process may have needed at its peak; 500 jobs hold a fifth of it."""
_SENTENCE: Final = "The parcel of order {} for Mrs. Example came on Monday, 3 March, and the invoice did not. "
_CARRIED: Final = "waybill_classifier_messages_total"
_SQL: Final = sql.load("intake")


async def test_a_heavy_slice_costs_nobody_their_place(
    settings: Settings, logins: dict[str, str], tmp_path: Path
) -> None:
    tenant = new_tenant("heavy")
    async with deployed(settings, logins, tmp_path) as waybill:
        for number in range(JOBS):
            text = "".join(_SENTENCE.format(f"{number}-{line}") for line in range(BYTES // len(_SENTENCE)))
            await waybill.publish([job(tenant, f"heavy-{number}", text)])
        async with waybill.process("classifier") as classifier:
            await waybill.until(lambda: is_shared_by(settings, "classifier", 1), "the classifier has joined its group")
            before = await members(settings, "classifier")
            await _until_carried(waybill, classifier)
            assert await members(settings, "classifier") == before, "nobody was evicted"
            assert await classifier.sample(_CARRIED) == JOBS, "each was delivered once"
            assert await classifier.sample("waybill_classifier_failures_total") == 0, "no batch was given back"
            peak = _peak_memory(classifier)
        (counts,) = await waybill.fetch(_SQL["counts"])
        # Of each the job, and it again with placeholders for the names in it.
        assert (counts["records"], counts["contents"]) == (JOBS, 2 * JOBS)
        print(f"{JOBS} jobs of {BYTES // KIB} KiB: the same member, {peak // MIB} MiB at the peak")
        assert peak < MAX_MEMORY


async def _until_carried(waybill: Deployment, classifier: Process) -> None:
    async def carried() -> bool:
        return await classifier.sample(_CARRIED) >= JOBS

    await waybill.until(carried, f"{JOBS} jobs are taken in")


def _peak_memory(process: Process) -> int:
    """Return the most memory that a process ever had, in bytes; 0 where the system does not say."""
    status = Path(f"/proc/{process.popen.pid}/status")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(found[1]) * KIB if found else 0
