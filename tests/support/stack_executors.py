"""Further executors beside the stack's own: they share its partitions, and each has an environment of its own."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.executor.app import NAME as EXECUTOR
from services.standalone.ports import LOOPBACK, Ports
from support import sql
from support.stack_groups import forget_members, is_shared_by
from support.stack_running import PATIENCE_S, RunningStack, until

_SQL: Final = sql.load("stack")
_LOG_END: Final = 4000


@dataclass(frozen=True)
class FurtherExecutor:
    """One executor process that is not the stack's own; ``worker`` is what its claims are signed with."""

    stack: RunningStack
    process: subprocess.Popen[str]
    worker: str
    log: Path

    def resume(self) -> None:
        """Let it go on, where a fault point has frozen it, as if no time had passed."""
        self.process.send_signal(signal.SIGCONT)

    async def leave(self) -> None:
        """Stop it as an operator does, and wait until it has ended what it had begun."""
        self.process.terminate()
        status = await asyncio.to_thread(self.process.wait, PATIENCE_S)
        assert status == 0, f"it ended with {status}:\n{self.log.read_text()[-_LOG_END:]}"


@asynccontextmanager
async def further_executors(
    stack: RunningStack, *environments: Mapping[str, str]
) -> AsyncIterator[list[FurtherExecutor]]:
    """Run executors beside the stack's own, one for each environment, once all have partitions.

    They are killed when the block ends.
    """
    await forget_members(stack.settings(), EXECUTOR)
    await until(lambda: is_shared_by(stack.settings(), EXECUTOR, 1), "the first executor is alone")
    async with AsyncExitStack() as started:
        found = [await started.enter_async_context(_executor(stack, one)) for one in environments]

        await until_joined(stack, found)
        yield found


async def until_joined(stack: RunningStack, executors: Sequence[FurtherExecutor]) -> None:
    """Wait until all of them, and the stack's own, have partitions."""

    async def have_joined() -> bool:
        assert all(one.process.poll() is None for one in executors), "the further executors run"
        return await is_shared_by(stack.settings(), EXECUTOR, 1 + len(executors))

    await until(have_joined, f"{len(executors)} further executors have joined")


@asynccontextmanager
async def _executor(stack: RunningStack, environment: Mapping[str, str]) -> AsyncIterator[FurtherExecutor]:
    port = Ports({})[EXECUTOR]
    address = f"{LOOPBACK}:{port}"
    before = await _workers(stack)
    log = stack.folder / f"executor-{port}.log"
    with log.open("ab") as output:
        process = stack.start_command(
            "serve", EXECUTOR, env={**stack.service_environment(address), **environment}, stdout=output, stderr=output
        )
    try:

        async def has_lease() -> bool:
            assert process.poll() is None, "the further executor runs"
            return len(await _workers(stack) - before) == 1

        await until(has_lease, "the further executor has its lease")
        (worker,) = await _workers(stack) - before
        yield FurtherExecutor(stack, process, worker, log)
    finally:
        process.kill()
        process.wait(PATIENCE_S)


async def _workers(stack: RunningStack) -> set[str]:
    """Return every worker that took a lease and did not give it up, dead ones included."""
    return {str(row["worker"]) for row in await stack.fetch(_SQL["workers"])}
