"""The sweeper: wakes the stage that an open record's last entry calls for, when nobody else will.

Kafka is the wake-up, and a wake-up can be lost: a topic truncated, a process dead between its transaction and its
produce. Only what the stage and the recorder must have passed is sent again, at doubling intervals and a bounded rate;
a message too many is harmless, because every append is fenced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from schemas.codes import EntryKind
from schemas.topics import CLASSIFIED, OUTCOMES, ROUTED_BACKGROUND, ROUTED_BATCH
from services.recorder.progress import Progress
from services.runtime import ledger, queries
from services.runtime.chain import progress_of
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.host import Host
from services.runtime.kafka import Outgoing
from services.runtime.lease import living
from services.runtime.ledger import Entry

_SQL = queries.load("recorder")
AT_ONCE: Final = 500
MAX_DOUBLINGS: Final = 6
_STAGES: Final = {
    "router": (CLASSIFIED,),
    "executor": (ROUTED_BACKGROUND, ROUTED_BATCH),
    "recorder": (OUTCOMES,),
}


class Sweeper:
    """Looks after open records that have been silent for too long."""

    def __init__(self, host: Host, clock: Callable[[], datetime], progress: Progress) -> None:
        """Take the host's parts, the clock that entries are compared with, and who knows how far the stages are."""
        self._host = host
        self._clock = clock
        self._progress = progress
        self._after = timedelta(seconds=host.settings.sweep_after_s)
        self._stage_of = {host.settings.topic(t.name): stage for stage, topics in _STAGES.items() for t in topics}

    async def sweep(self) -> int:
        """Wake what has been silent, at most :data:`AT_ONCE` records, and return how many were woken."""
        if not await self._host.pool.fetchval(_SQL["any_silent"]):
            return 0
        # Before the rows are locked: nobody waits for Kafka's answer, and what is recorded after it is left alone.
        passed = await self._passed()
        async with self._host.pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_SQL["lock_silent"], AT_ONCE)
            if not rows:
                return 0
            sweeps = {row["record_id"]: row["sweeps"] for row in rows}
            chains = await ledger.read_chains(connection, list(sweeps))
            messages = await self._messages(chains, passed)
            waits = {
                record_id: self._after * 2 ** min(sweeps[record_id], MAX_DOUBLINGS)
                if record_id in messages
                else self._after
                for record_id in sweeps
            }
            await connection.execute(
                _SQL["swept"],
                list(waits),
                list(waits.values()),
                [record_id in messages for record_id in waits],
            )
        if messages:
            reach(FaultPoint.RECORDER_SWEEP_STORED)
        await self._host.producer.send(messages.values())
        if messages:
            reach(FaultPoint.RECORDER_SWEEP_PRODUCED)
        self._host.telemetry.events.labels("swept").inc(len(messages))
        return len(messages)

    async def _messages(self, chains: dict[UUID, list[Entry]], passed: dict[str, datetime]) -> dict[UUID, Outgoing]:
        """Return the message of each chain that nobody is working on."""
        candidates = {r: message for r, chain in chains.items() if (message := self._host.wakeups.for_chain(chain))}
        alive = await self._claimed([chains[record_id] for record_id in candidates])
        return {
            record_id: message
            for record_id, message in candidates.items()
            if record_id not in alive
            and _recorded_at(chains[record_id]) + self._after
            < min(passed[self._stage_of[message.topic]], passed["recorder"])
        }

    async def _passed(self) -> dict[str, datetime]:
        settings = self._host.settings
        now = self._clock()
        return {
            stage: await self._progress.passed(
                settings.group(stage), [settings.topic(topic.name) for topic in topics], now
            )
            for stage, topics in _STAGES.items()
        }

    async def _claimed(self, chains: Sequence[Sequence[Entry]]) -> set[UUID]:
        """Return the records whose last entry is a claim that its worker still holds."""
        now = self._clock()
        claims = {
            chain[-1].record_id: progress_of(chain).claims[-1]
            for chain in chains
            if chain[-1].kind == EntryKind.ATTEMPT_STARTED
        }
        open_claims = {record_id: claim for record_id, claim in claims.items() if claim.deadline > now}
        alive = await living(self._host.pool, [claim.worker for claim in open_claims.values()])
        return {record_id for record_id, claim in open_claims.items() if claim.worker in alive}


def _recorded_at(chain: Sequence[Entry]) -> datetime:
    return datetime.fromisoformat(chain[-1].content()["recorded_at"])
