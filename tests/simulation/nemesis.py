"""What goes wrong in a run, and when: drawn from the seed, bounded, and followed by peace."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from schemas.topics import CLASSIFIED, OUTCOMES, ROUTED_BACKGROUND, ROUTED_BATCH
from simulation.cluster import INSTANCES, Cluster
from simulation.process import Process
from simulation.world import Weather, World

CHAOS_S: Final = 12.0
MAX_STRIKES: Final = 7
MAX_TURNS: Final = 80
MAX_TURNS_OF_CALL: Final = 8
_SERVICES: Final = [*INSTANCES, "executor", "executor"]
_INTERNAL: Final = (CLASSIFIED, ROUTED_BACKGROUND, ROUTED_BATCH, OUTCOMES)


class Nemesis:
    """Strikes the processes, the broker and the database of one world."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self._world = world
        self._cluster = cluster
        self._chance: random.Random = world.chance

    def plan(self) -> None:
        """Draw the weather, and the strikes."""
        chance = self._chance
        if chance.random() < 0.75:
            self._world.weather = Weather(
                slow=chance.choice((0, 0.02, 0.1)),
                connection_lost=chance.choice((0, 0.003, 0.02)),
                producer_breaks=chance.choice((0, 0, 0.02)),
                commit_lost=chance.choice((0, 0.1)),
                call_fails=chance.choice((0, 0.3, 0.7)),
            )
        strikes: tuple[Callable[[], None], ...] = (
            self._kill, self._kill, self._kill, self._freeze, self._freeze, self._freeze, self._stop,
            self._lose_messages, self._lose_messages, self._reset_offsets, self._take_database_away,
        )  # fmt: skip
        for _ in range(chance.randint(0, MAX_STRIKES)):
            self._world.loop.call_later(chance.uniform(0.5, CHAOS_S), chance.choice(strikes))

    def make_peace(self) -> None:
        """End all that goes wrong."""
        self._world.trace.note("nemesis", "peace")
        self._world.weather = Weather()
        self._cluster.make_peace()

    def _victim(self) -> Process | None:
        processes = list(self._cluster.of(self._chance.choice(_SERVICES)))
        return self._chance.choice(processes) if processes else None

    def _in_its_midst(self, victim: Process, action: Callable[[], None]) -> None:
        if victim.service == "executor" and self._chance.random() < 0.6:
            victim.after_next_call(self._chance.randrange(MAX_TURNS_OF_CALL), action)
        else:
            victim.after_turns(self._chance.randrange(MAX_TURNS), action)

    def _kill(self) -> None:
        if victim := self._victim():
            self._in_its_midst(victim, lambda: self._killed(victim))

    def _killed(self, victim: Process) -> None:
        self._world.trace.fault(f"{victim.service} killed")
        victim.kill()

    def _freeze(self) -> None:
        if victim := self._victim():
            seconds = self._chance.choice((self._chance.uniform(0.1, 2), self._chance.uniform(4, 20)))
            self._in_its_midst(victim, lambda: self._frozen(victim, seconds))

    def _frozen(self, victim: Process, seconds: float) -> None:
        self._world.trace.fault(f"{victim.service} frozen")
        victim.freeze()
        self._world.loop.call_later(seconds, victim.thaw)

    def _stop(self) -> None:
        if victim := self._victim():
            self._world.trace.fault("clean stop")
            victim.terminate()

    def _lose_messages(self) -> None:
        topic = self._world.settings.topic(self._chance.choice(_INTERNAL).name)
        lost = sum(
            partition.truncate(self._chance.randint(partition.start, partition.end))
            for partition in self._world.broker.topics[topic]
        )
        if lost:
            self._world.trace.note("nemesis", f"{topic} loses {lost}")
            self._world.trace.fault("messages lost", lost)

    def _reset_offsets(self) -> None:
        group = self._chance.choice(sorted(self._world.broker.groups) or [""])
        if group:
            self._world.trace.note("nemesis", f"offsets of {group} reset")
            self._world.trace.fault("offsets reset")
            self._world.broker.groups[group].reset()

    def _take_database_away(self) -> None:
        self._world.trace.note("nemesis", "the database is away")
        self._world.trace.fault("database away")
        self._world.weather.database_away_until = self._world.loop.time() + self._chance.uniform(0.2, 6)
