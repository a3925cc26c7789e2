"""One tenant's jobs on a stack to which things happen: published, brought to their end, and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from schemas.codes import EntryKind
from support import stack_jobs
from support.oracle import History, faults, read_history
from support.stack_running import RunningStack
from support.stack_topics import Tape, publish, tape


@dataclass(frozen=True)
class Flow:
    """Jobs under way."""

    stack: RunningStack
    tenant: str
    jobs: Sequence[dict[str, Any]]
    results: Tape

    async def publish(self, jobs: Sequence[dict[str, Any]] | None = None) -> None:
        """Publish the jobs, or some of them; what is not acknowledged, again."""
        messages = stack_jobs.messages(self.stack.settings(), self.jobs if jobs is None else jobs)
        await publish(self.stack.settings, messages)

    async def publish_in_step(self, ahead: int = 200) -> None:
        """Publish all jobs, never many more than ``ahead`` of what is sealed: every stage has work all the time."""
        step = ahead // 4
        for start in range(0, len(self.jobs), step):
            await self.sealed(start - ahead)
            await self.publish(self.jobs[start : start + step])

    async def sealed(self, count: int) -> int:
        """Wait until so many are sealed, being on call meanwhile; return how many they are."""
        return await self.stack.until_sealed(self.tenant, count)

    async def history(self) -> History:
        """Return what became of them, when all have ended."""
        await self.stack.until_done(self.tenant, len(self.jobs))
        stack, values = self.stack, await self.results.results_of(self.tenant)
        return await read_history(
            stack.database_url,
            stack.charges,
            stack.stack.folder.master_key,
            self.tenant,
            stack_jobs.keys(self.jobs),
            values,
        )


@asynccontextmanager
async def flow(stack: RunningStack, name: str, count: int, *, script: str = "") -> AsyncIterator[Flow]:
    """Give jobs of a new tenant; after the block they end, and their history must have no fault."""
    tenant = stack_jobs.new_tenant(name)
    flowing = Flow(
        stack,
        tenant,
        stack_jobs.many(tenant, count, script=script),
        await tape(stack.settings(), stack.results_topic),
    )
    yield flowing
    history = await flowing.history()
    print(_told(history))
    assert faults(history) == []


def _told(history: History) -> str:
    """Say what a history went through; a fault test that met no trouble has shown nothing."""
    entries = [entry for chain in history.chains.values() for entry in chain]
    kinds = Counter(entry.kind for entry in entries)
    claims = [entry.content()["data"] for entry in entries if entry.kind == EntryKind.ATTEMPT_STARTED]
    return (
        f"{history.tenant}: {len(history.chains)} records, {len(claims)} calls by {len({c['worker'] for c in claims})} "
        f"workers, {sum(claim['may_double_pay'] for claim in claims)} of them disclosed as perhaps paid twice, "
        f"{kinds[EntryKind.HELD]} holds, {kinds[EntryKind.LATE_RESULT]} late answers, "
        f"{len(history.results) - len(history.chains)} results more than once"
    )
