"""One run of the simulation: a seed's chaos, then peace until all is at rest, then the judgement."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from unittest import mock
from uuid import UUID

from services.runtime import ledger, surroundings
from services.runtime.ledger import Entry, Writes
from services.runtime.postgres import Connection
from services.runtime.vault import Content
from simulation.backend import Backend, OnCall
from simulation.cluster import Cluster
from simulation.disks import disks
from simulation.history import judged
from simulation.loop import DeadlockError, SimulationLoop
from simulation.nemesis import CHAOS_S, Nemesis
from simulation.world import World

LOOK_EVERY_S: Final = 1.0
QUIET_S: Final = 8.0
"""How long nothing must be left to do before a run is at rest: longer than an answer can be late."""
HORIZON_S: Final = 3_000.0


@dataclass(frozen=True)
class Run:
    """How a seed went."""

    seed: int
    faults: list[str]
    trace: str
    counts: Counter[str]
    virtual_s: float


def simulate(seed: int) -> Run:
    """Run one seed."""
    state = random.getstate()
    loop = SimulationLoop()
    try:
        random.seed(seed)  # the jitter of the executor's backoff
        with disks() as disk:
            world = World(seed, loop, disk)
            backend = Backend(world)
            with surroundings.replaced(world), mock.patch.object(ledger, "append", _counted(world)):
                faults = _ran(loop, world, backend)
            loop.bury()
        return Run(seed, faults, world.trace.text(), world.trace.faults + world.trace.situations, loop.time())
    finally:
        loop.bury()
        random.setstate(state)


def _ran(loop: SimulationLoop, world: World, backend: Backend) -> list[str]:
    try:
        loop.run_until_complete(_story(world, backend))
    except DeadlockError as error:
        return [f"deadlock at {loop.time():.3f}: {error}"]
    except _RestlessError:
        return [f"not at rest after {loop.time():.0f} s", *judged(world, backend)]
    if loop.failures:
        raise loop.failures[0]
    return world.broken or judged(world, backend)


async def _story(world: World, backend: Backend) -> None:
    cluster = Cluster(world)
    nemesis = Nemesis(world, cluster)
    nemesis.plan()
    cluster.start()
    backend.plan(CHAOS_S * 0.6)
    on_call = asyncio.create_task(OnCall(world).run())
    await asyncio.sleep(CHAOS_S)
    nemesis.make_peace()
    quiet_since = world.loop.time()
    while world.loop.time() - quiet_since < QUIET_S and not world.broken:
        await asyncio.sleep(LOOK_EVERY_S)
        if on_call.done():
            on_call.result()
        if not _is_quiet(world, backend):
            quiet_since = world.loop.time()
        if world.loop.time() > HORIZON_S:
            raise _RestlessError


def _is_quiet(world: World, backend: Backend) -> bool:
    tables = world.database.tables
    return (
        backend.is_done
        and not (tables.open_record or tables.held or tables.aside or world.provider.in_flight)
        and not any(any(world.broker.waiting(group).values()) for group in world.broker.groups)
    )


def _counted(world: World) -> Callable[..., Awaitable[dict[UUID, list[Entry]]]]:
    """Return the ledger's ``append``, that counts what met stored rows."""
    append = ledger.append

    async def counted(
        connection: Connection, chains: Iterable[Writes], contents: Sequence[Content] = ()
    ) -> dict[UUID, list[Entry]]:
        given = list(chains)
        stored = await append(connection, given, contents)
        ids = {chain.entries[0].entry_id for chain in given}
        for rows in stored.values():
            met = "redelivery" if rows and rows[0].entry_id in ids else "stale writer"
            world.trace.count(f"{met} met a stored row")
        return stored

    return counted


class _RestlessError(Exception):
    """The run has not come to rest in time."""
