"""The people and programs around Waybill in a run: a backend that publishes jobs, and somebody on call.

What is published is drawn from the seed: keys and none, the same key again, a key with another payload, cancels before
and after, deadlines, messages that are rejected, replays, feedback. A lost acknowledgement makes the backend publish
again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from support.jobs import TENANT, cancel, job, replay

from schemas.topics import FEEDBACK, REQUESTS, RESULTS
from services.recorder.feedback import entry_of, parse
from services.runtime import queries
from services.runtime.postgres import is_transient
from simulation.world import World

_SQL: Final = queries.load("cli_records")
_VERDICTS: Final = ("retry", "charged", "not_charged")
LOOK_EVERY_S: Final = 3.0
MAX_JOBS: Final = 5


class Backend:
    """One tenant's backend. It knows what it published, and so what records there must be."""

    def __init__(self, world: World) -> None:
        self.published: Counter[bytes] = Counter()
        """How often each message without a key stands in the topic."""
        self.keys: dict[str, set[bytes]] = {}
        """The payloads of jobs under each key."""
        self.verdicts: dict[UUID, set[UUID]] = {}
        """The entries that each record must get by feedback."""
        self._rejected: set[bytes] = set()
        self._replays: set[str] = set()
        self._world = world
        self._left = 0

    @property
    def is_done(self) -> bool:
        """Whether everything has been published."""
        return self._left == 0

    @property
    def further_records(self) -> int:
        """How many records there must be beside one for each key."""
        conflicts = sum(len(payloads) - 1 for payloads in self.keys.values())
        return sum(self.published.values()) + conflicts + len(self._rejected) + len(self._replays)

    def plan(self, until_s: float) -> None:
        """Draw the jobs of a run, and when each is published."""
        chance = self._world.chance
        for number in range(1, chance.randint(2, MAX_JOBS) + 1):
            at = chance.uniform(0, until_s)
            for later, document in self._messages(number, at):
                self._left += 1
                self._world.loop.call_later(max(0.0, at + later), self._publish, document)
        if chance.random() < 0.2:
            self._left += 1
            self._world.loop.create_task(self._replay_something(chance.uniform(until_s / 2, until_s)))
        if chance.random() < 0.4:
            self._left += 1
            self._world.loop.create_task(self._judge_something(chance.uniform(until_s / 3, until_s)))

    def _messages(self, number: int, at: float) -> list[tuple[float, dict[str, Any]]]:
        """Return what is published around one job, each with its time before or after the job."""
        chance = self._world.chance
        key = f"key-{number}"
        fields: dict[str, Any] = {"latency_class": chance.choice(("background", "background", "batch"))}
        if chance.random() < 0.2:
            fields["notify"] = "all"
        if chance.random() < 0.1:
            fields["alias"] = chance.choice(("sim-failover", "sim-fail", "no-such-alias"))
        wanted = job(f"Translate to French: parcel {number}", idempotency_key=key, **fields)
        drawn = chance.random()
        if drawn < 0.4:
            return [(0, wanted)]
        if drawn < 0.5:
            return [(0, job(f"Without a key: parcel {number}", **fields))]
        if drawn < 0.6:
            return [(0, wanted), (chance.uniform(0, 6), wanted)]
        if drawn < 0.7:
            return [(0, wanted), (chance.uniform(0, 3), job(f"Another payload {number}", idempotency_key=key))]
        if drawn < 0.85:
            return [(0, wanted), (chance.uniform(-1, 6), cancel(key))]
        if drawn < 0.93:
            deadline = self._world.true_now() + timedelta(seconds=at + chance.uniform(0.5, 12))
            return [(0, {**wanted, "deadline": deadline.isoformat()})]
        return [(0, {**wanted, "no_such_field": 1})]

    def _publish(self, document: dict[str, Any]) -> None:
        self._left -= 1
        self._append(document)
        if self._world.chance.random() < 0.08:
            self._world.trace.fault("a client's acknowledgement lost")
            self._left += 1
            self._world.loop.call_later(self._world.chance.uniform(0.1, 3), self._publish, document)

    def _append(self, document: dict[str, Any]) -> None:
        world = self._world
        value, key = orjson.dumps(document), document.get("idempotency_key")
        # By its key, so that what belongs together stays in order.
        name = key or document.get("record_id") or value.decode()
        partition = world.broker.partition_for(world.settings.topic(REQUESTS.name), name.encode())
        partition.append(None if key is None else key.encode(), value, (), world.broker.clock_ms())
        world.trace.note("backend", f"publishes {document.get('type', 'job')} {key or ''}")
        match document:
            case {"type": "cancel"}:
                world.trace.count("cancel")
            case {"type": "replay"}:
                self._replays.add(value.decode())
            case {"no_such_field": _}:
                self._rejected.add(value)
            case {"idempotency_key": str()}:
                self.keys.setdefault(document["idempotency_key"], set()).add(value)
            case _:
                self.published[value] += 1

    def _ended(self) -> list[dict[str, Any]]:
        """Return the results that have come."""
        results = self._world.broker.everything_in(self._world.settings.topic(RESULTS.name))
        told = [orjson.loads(record.value or b"") for record in results]
        return [one for one in told if one["event"] == "final"]

    async def _judge_something(self, at: float) -> None:
        """Say what somebody thought of some answers, some of it twice, and of one that is nobody's."""
        await asyncio.sleep(at)
        self._left -= 1
        world = self._world
        ended = sorted({one["record_id"] for one in self._ended()})
        for record_id in world.chance.sample(ended, min(len(ended), 2)):
            for verdict in world.chance.choices(("accepted", "edited", "rejected"), k=world.chance.randint(1, 4)):
                self._give(UUID(record_id), verdict)
        self._give(UUID(int=world.chance.getrandbits(128)), "rejected", counts=False)

    def _give(self, record_id: UUID, verdict: str, *, counts: bool = True) -> None:
        world = self._world
        document = {"schema_version": 1, "tenant": TENANT, "record_id": str(record_id), "verdict": verdict}
        value = orjson.dumps(document)
        # Under any key: the same may stand in two partitions, and reach two recorders.
        partition = world.broker.partition_for(world.settings.topic(FEEDBACK.name), world.chance.randbytes(4))
        partition.append(None, value, (), world.broker.clock_ms())
        world.trace.count("feedback")
        if counts:
            entry_id, _ = entry_of(record_id, parse(value))
            self.verdicts.setdefault(record_id, set()).add(entry_id)

    async def _replay_something(self, at: float) -> None:
        await asyncio.sleep(at)
        self._left -= 1
        # A rejected job cannot be replayed; and asking for it has no identity but its place in the topic.
        ended = [one["record_id"] for one in self._ended() if one["status"] != "rejected"]
        if ended:
            self._left += 1
            self._world.trace.count("replay")
            self._publish(replay(self._world.chance.choice(ended)))


class OnCall:
    """Somebody who gives a verdict on every record in doubt, right or wrong."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pool = world.database.pool("on-call")

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for row in list(self._world.database.tables.held.values()):
                if row.verdict is None and row.due is None:
                    await self._judge(row.record_id, row.seq)

    async def _judge(self, record_id: Any, seq: int) -> None:
        verdict = self._world.chance.choice(_VERDICTS)
        try:
            if await self._pool.fetch(_SQL["set_verdict"], record_id, seq, verdict):
                self._world.trace.note("on-call", f"{self._world.trace.known(record_id)}: {verdict}")
                self._world.trace.count(f"verdict {verdict}")
        except Exception as error:
            if not is_transient(error):
                raise


__all__ = ["TENANT", "Backend", "OnCall"]
