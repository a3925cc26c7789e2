"""One simulated world: a seed, virtual time, broker, databases and provider, and what lies between them and a process.

Its :class:`Weather` says how bad the ways are at a moment; the nemesis changes it. Everything that the seed decides is
drawn here or by the nemesis, in the order of the run; ids and keys have a source of their own.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
from aiokafka.errors import KafkaTimeoutError, OutOfOrderSequenceNumber

from schemas.codes import EntryKind
from schemas.topics import TOPICS
from services.runtime.chain import claim_of
from services.runtime.ledger import Entry
from services.runtime.settings import Settings, TopicOverride
from simulation.broker import Broker, Group
from simulation.disks import Disks
from simulation.loop import PROCESS
from simulation.memory_database import MemoryDatabase
from simulation.memory_tables import Tables
from simulation.provider import Fate, Kind, MemoryProvider
from simulation.trace import Trace

BEGINNING: Final = datetime(2026, 3, 4, 5, 0, tzinfo=UTC)
CONFIG: Final = Path(__file__).parents[2] / "config"
PARTITIONS: Final = 2
LEASE_S: Final = 4.0
ATTEMPT_TIMEOUT_S: Final = 6.0
SWEEP_AFTER_S: Final = 6.0
SESSION_S: Final = 5.0
REBALANCE_S: Final = 10.0
IDLE_IN_TRANSACTION_S: Final = 2.0
MAX_SKEW: Final = timedelta(seconds=0.3)
"""How far a process's clock may be from the servers'."""
_FAILING: Final[tuple[Kind, ...]] = (
    "lost", "lost", "lost_uncharged", "hang", "unsent", "status", "malformed", "refuse", "answer",
)  # fmt: skip


@cache
def settings(in_doubt_cap_usd: str) -> Settings:
    """Return the settings of a simulated deployment; addresses are made up, nobody connects."""
    return Settings(
        DATABASE_URL="postgresql://simulated",
        KEYRING_DATABASE_URL="postgresql://simulated-keyring",
        KAFKA_BOOTSTRAP_SERVERS="simulated:9092",
        WAYBILL_TOPIC_PREFIX="sim.",
        WAYBILL_TOPICS={topic.name: TopicOverride(partitions=PARTITIONS) for topic in TOPICS},
        WAYBILL_CONFIG_DIR=CONFIG,
        WAYBILL_ALLOW_UNSIGNED=True,
        WAYBILL_MAX_IN_FLIGHT=4,
        WAYBILL_ATTEMPT_TIMEOUT_S=ATTEMPT_TIMEOUT_S,
        WAYBILL_IN_DOUBT_CAP_USD=in_doubt_cap_usd,
        WAYBILL_LEASE_S=LEASE_S,
        WAYBILL_SWEEP_AFTER_S=SWEEP_AFTER_S,
        WAYBILL_DRAIN_TIMEOUT_S=5.0,
    )


@dataclass(slots=True)
class Weather:
    """How bad things are: probabilities for each round trip or call."""

    slow: float = 0.0
    """That a round trip takes seconds."""
    connection_lost: float = 0.0
    """That a round trip to the database loses its connection, before its effect or after."""
    database_away_until: float = 0.0
    producer_breaks: float = 0.0
    """That a batch of messages ends its producer, before it is stored or after."""
    commit_lost: float = 0.0
    """That an offset commit's answer is lost."""
    call_fails: float = 0.0
    """That a call to a provider does not simply bring its answer."""


class World:
    """Everything around the processes."""

    def __init__(self, seed: int, loop: asyncio.AbstractEventLoop, disks: Disks) -> None:
        self.chance: Final = random.Random(seed)
        self.loop: Final = loop
        self.disks: Final = disks
        self.trace: Final = Trace(loop.time)
        self.weather = Weather()
        self.broken: Final[list[str]] = []
        """What happened that must never happen, even for a moment. A service would handle it if it were raised."""
        self.learned: Final[list[set[UUID]]] = []
        """Claims whose answer came, by process, of every process that was not killed."""
        self.settings: Final = settings(self.chance.choice(("1.00", "1.00", "0")))
        self.broker: Final = Broker(
            lambda: int(self.now().timestamp() * 1000), session_timeout_s=SESSION_S, rebalance_timeout_s=REBALANCE_S
        )
        self.broker.rebalanced = self._rebalanced
        for topic in TOPICS:
            self.broker.create_topic(self.settings.topic(topic.name), PARTITIONS)
        self.database: Final = WatchedDatabase(self, DatabaseTraffic(self))
        self.keys: Final = MemoryDatabase(self.true_now, DatabaseTraffic(self))
        self.provider: Final = MemoryProvider(self.true_now, self._fate)
        self.broker_traffic: Final = BrokerTraffic(self)
        self.has_machine_each: Final = self.chance.random() < 0.5
        """Whether each instance has a disk of its own, or all share one."""
        self._secrets = random.Random(~seed)
        self._ids = 0

    def _rebalanced(self, group: Group) -> None:
        self.trace.note("broker", f"{group.name}: generation {group.generation}")
        if self.provider.in_flight and group.name == self.settings.group("executor"):
            self.trace.count("rebalance with calls in flight")

    # -- surroundings ---------------------------------------------------------------------------------------------

    def true_now(self) -> datetime:
        """Return the time by the servers' clock."""
        return BEGINNING + timedelta(seconds=self.loop.time())

    def now(self) -> datetime:
        """Return the time by the clock of the process whose turn it is."""
        skew_s: float = getattr(PROCESS.get(), "skew_s", 0.0)
        return BEGINNING + timedelta(seconds=self.loop.time() + skew_s)

    def monotonic(self) -> float:
        """Return virtual seconds."""
        return self.loop.time()

    def uuid7(self) -> UUID:
        """Return the next record id."""
        self._ids += 1
        milliseconds = int(self.true_now().timestamp() * 1000)
        return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | self._ids)

    def random_bytes(self, size: int) -> bytes:
        """Return bytes that follow from the seed."""
        return self._secrets.randbytes(size)

    # -- what the seed decides at every turn ----------------------------------------------------------------------

    async def travel(self, usual_s: float) -> None:
        """Take some time: mostly none worth a turn, often a little, sometimes seconds."""
        drawn = self.chance.random()
        if drawn < 0.5:
            return
        if self.chance.random() < self.weather.slow:
            self.trace.fault("slow round trip")
            await asyncio.sleep(self.chance.uniform(0.2, 4.0))
        else:
            await asyncio.sleep(self.chance.uniform(0, usual_s if drawn < 0.95 else 10 * usual_s))

    def strikes(self, probability: float) -> bool:
        """Draw whether something of this probability happens."""
        return probability > 0 and self.chance.random() < probability

    def _fate(self) -> Fate:
        chance = self.chance
        if not self.strikes(self.weather.call_fails):
            return Fate("answer", chance.choice((0.02, 0.1, 0.5, 3.0)))
        kind = chance.choice(_FAILING)
        self.trace.fault(f"provider: {kind}")
        match kind:
            case "answer":  # late, but within the timeout or just behind it
                return Fate("answer", chance.uniform(ATTEMPT_TIMEOUT_S * 0.7, ATTEMPT_TIMEOUT_S * 1.2))
            case "status":
                retry_after = chance.choice((None, None, 1, 2, 100))
                return Fate("status", 0.05, chance.choice((429, 500, 503, 401, 400)), retry_after)
        return Fate(kind, chance.uniform(0.01, 2.0))


class DatabaseTraffic:
    """The way to a database: slow, lost before or after the effect, or away."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def before(self, process: str, what: str) -> None:
        """Bring a request to the server."""
        world = self._world
        await world.travel(0.01)
        if world.weather.database_away_until > world.loop.time():
            await asyncio.sleep(0.05)
            raise ConnectionRefusedError("the database is away")
        self._lose(process, what, "before")

    async def after(self, process: str, what: str) -> None:
        """Bring the answer back."""
        self._lose(process, what, "after")
        await self._world.travel(0.01)

    def _lose(self, process: str, what: str, when: str) -> None:
        world = self._world
        if world.strikes(world.weather.connection_lost):
            world.trace.note(process, f"connection lost {when} {what}")
            world.trace.fault(f"connection lost {when}")
            if when == "after" and what == "COMMIT":
                world.trace.fault("ambiguous commit")
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


class BrokerTraffic:
    """The way to the broker: slow, and sometimes the end of a producer or of a commit's answer."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def before(self, process: str, what: str) -> None:
        """Bring a request to the broker."""
        world = self._world
        if what == "heartbeat":
            await asyncio.sleep(world.chance.uniform(0, 1.5))
            return
        await world.travel(0.01)
        if what == "produce" and world.strikes(world.weather.producer_breaks):
            self._break(process, "before its messages were stored")

    async def after(self, process: str, what: str) -> None:
        """Bring the answer back."""
        world = self._world
        if what == "produce" and world.strikes(world.weather.producer_breaks):
            self._break(process, "after its messages were stored")
        if what == "commit" and world.strikes(world.weather.commit_lost):
            world.trace.fault("answer to an offset commit lost")
            raise KafkaTimeoutError("the answer to a commit was lost")
        await world.travel(0.01)

    def _break(self, process: str, when: str) -> None:
        self._world.trace.note(process, f"producer broken {when}")
        self._world.trace.fault("producer broken")
        raise OutOfOrderSequenceNumber("the producer's sequence is broken")


class WatchedDatabase(MemoryDatabase):
    """The database, looked at after every commit: what is stored must never change, a hold has its row, and nobody goes
    on behind the open claim of a worker that lives."""

    _watched: Tables | None = None

    def __init__(self, world: World, traffic: DatabaseTraffic) -> None:
        self._world = world
        self._lapsed: dict[UUID, datetime] = {}
        """When the lease of a worker was last renewed after it had expired: whoever looked before was right."""
        super().__init__(world.true_now, traffic)

    @property
    def tables(self) -> Tables:
        """What is committed."""
        assert self._watched is not None
        return self._watched

    @tables.setter
    def tables(self, new: Tables) -> None:
        old, self._watched = self._watched, new
        if old is None:
            return
        now = self._world.true_now()
        for worker, lease in new.lease.items():
            if worker in old.lease and old.lease[worker].expires_at <= now < lease.expires_at:
                self._lapsed[worker] = now
        for record_id, chain in new.entry.items():
            before = old.entry.get(record_id, ())
            if chain is not before:
                if list(chain[: len(before)]) != list(before):
                    self._world.broken.append(f"stored entries of {record_id} have changed")
                if before and before[-1].kind == EntryKind.ATTEMPT_STARTED:
                    self._watch_claim(new, before[-1], chain[len(before)])
                self._tell(record_id, [entry.kind for entry in chain[len(before) :]])
            if (chain[-1].kind == "held") != (record_id in new.held):
                self._world.broken.append(f"the held row of {record_id} does not go with its last entry")
        if old.entry.keys() - new.entry.keys():
            self._world.broken.append("a record is gone")

    def _watch_claim(self, tables: Tables, open_claim: Entry, follower: Entry) -> None:
        """See that only its own worker goes on behind an open claim, as long as that lives."""
        if follower.kind == EntryKind.ATTEMPT_FINISHED:
            return
        claim = claim_of(open_claim, open_claim.content()["data"])
        lease, now = tables.lease.get(claim.worker), self._world.true_now()
        lives = lease is not None and lease.expires_at > now
        claimed_at = datetime.fromisoformat(open_claim.content()["recorded_at"]) - MAX_SKEW
        if lives and self._lapsed.get(claim.worker, BEGINNING) < claimed_at and now + MAX_SKEW < claim.deadline:
            self._world.broken.append(f"{open_claim.record_id} has two owners: its worker lives, and another goes on")

    def _tell(self, record_id: UUID, kinds: list[str]) -> None:
        trace = self._world.trace
        owner = getattr(PROCESS.get(), "name", "world")
        trace.note(owner, f"{trace.name('J', record_id)}: {', '.join(kinds)}")
