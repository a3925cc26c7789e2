"""The instances of every service, each under a supervisor that starts another process where one has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextvars import Context
from typing import Final

from simulation.process import Process, State
from simulation.world import World

INSTANCES: Final = {"classifier": 2, "router": 2, "executor": 3, "recorder": 2}
MAX_SKEW_S: Final = 0.3


class Instance:
    """One place for a process of a service."""

    def __init__(self, world: World, service: str, name: str) -> None:
        self.service: Final = service
        self.process: Process | None = None
        self._world = world
        self._name = name
        self._starts = 0
        self._skew_s = world.chance.choice((0.0, 0.0, world.chance.uniform(-MAX_SKEW_S, MAX_SKEW_S)))

    def start(self) -> None:
        """Start a process, and another after its end."""
        self._starts += 1
        name = self._name if self._starts == 1 else f"{self._name}.{self._starts}"
        machine = self._name if self._world.has_machine_each else "machine"
        self.process = Process(self._world, self.service, name, machine=machine, skew_s=self._skew_s)
        self.process.ended.add_done_callback(self._ended, context=Context())
        self.process.start()

    def _ended(self, _: asyncio.Future[None]) -> None:
        self._world.loop.call_later(self._world.chance.uniform(0.1, 4.0), self.start)


class Cluster:
    """All of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.instances: Final = [
            Instance(world, service, f"{service}-{number}")
            for service, count in INSTANCES.items()
            for number in range(1, count + 1)
        ]

    def start(self) -> None:
        """Start every instance, not all at one moment."""
        for instance in self.instances:
            self._world.loop.call_later(self._world.chance.uniform(0, 1.0), instance.start)

    def of(self, service: str) -> Iterator[Process]:
        """Return the running processes of a service."""
        for instance in self.instances:
            if instance.service == service and instance.process and instance.process.state is State.RUNNING:
                yield instance.process

    def make_peace(self) -> None:
        """End what the nemesis has begun: nothing is frozen, nothing about to be struck."""
        for instance in self.instances:
            if instance.process is not None:
                instance.process.spare()
                instance.process.thaw()
