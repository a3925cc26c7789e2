"""The recorder, wired: `outcomes` and `feedback` in, `results` out; upkeep, notary and the like beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiokafka.errors import KafkaError

from schemas.topics import FEEDBACK, OUTCOMES
from services.recorder.attestation import Attestation
from services.recorder.erasures import Erasures
from services.recorder.feedback import FeedbackStage
from services.recorder.late import AT_ONCE as LATE_AT_ONCE
from services.recorder.late import LateEntries
from services.recorder.progress import KafkaProgress, Progress
from services.recorder.stage import RecorderStage
from services.recorder.sweeper import AT_ONCE, Sweeper
from services.recorder.upkeep import Upkeep
from services.runtime.host import Host
from services.runtime.ids import now
from services.runtime.kafka import BrokerUnreachableError
from services.runtime.microbatch import MicroBatch
from services.runtime.postgres import is_transient
from services.runtime.surroundings import monotonic
from services.runtime.telemetry import describe

NAME = "recorder"
LATE_EVERY_S: Final = 2.0
ERASE_EVERY_S: Final = 1.0
UPKEEP_EVERY_S: Final = 3600.0
SWEEPS_PER_INTERVAL: Final = 4


class Recorder:
    """The service: two micro-batch consumers, and five loops beside them."""

    def __init__(self, host: Host, progress: Progress | None = None) -> None:
        """Register the consumers with the broker; without ``progress`` the broker is asked how far stages are."""
        self._host = host
        self._consumer = MicroBatch(RecorderStage(host, now), host)
        self._consumer.subscribe([host.settings.topic(OUTCOMES.name)])
        self._feedback = MicroBatch(FeedbackStage(host), host, "feedback")
        self._feedback.subscribe(pattern=host.settings.topics_like(FEEDBACK.name), committed_only=True)
        self._late = LateEntries(host, now)
        self._sweeper = Sweeper(host, now, progress or KafkaProgress(host.settings))
        self._erasures = Erasures(host, now)
        self._upkeep = Upkeep(host)
        self._attestation = Attestation(host, now)

    async def start(self) -> None:
        """Begin to look after what lies aside, what sleeps, and the database."""
        self._consumer.watch()
        self._feedback.watch()
        every = self._host.settings.sweep_after_s / SWEEPS_PER_INTERVAL
        self._host.run_in_background(lambda: self._regularly("late entries", LATE_EVERY_S, self._drain))
        self._host.run_in_background(lambda: self._regularly("erasures", ERASE_EVERY_S, self._erasures.run))
        self._host.run_in_background(lambda: self._regularly("sweep", every, self._sweep))
        self._host.run_in_background(lambda: self._regularly("upkeep", UPKEEP_EVERY_S, self._keep_up))
        if self._attestation.begin():
            often = self._host.settings.notary_every_s
            self._host.run_in_background(lambda: self._regularly("checkpoint", often, self._attestation.run_once))

    async def stop(self) -> None:
        """The host ends the loops; each step of theirs is one transaction."""

    def last_poll(self) -> float:
        """Return when the consumer last polled that has not for longer."""
        return min(self._consumer.last_poll, self._feedback.last_poll)

    async def _drain(self) -> None:
        while await self._late.drain() == LATE_AT_ONCE:
            pass

    async def _sweep(self) -> None:
        while await self._sweeper.sweep() == AT_ONCE:
            pass

    async def _keep_up(self) -> None:
        await self._upkeep.run_once(now())

    async def _regularly(self, what: str, every_s: float, work: Callable[[], Awaitable[object]]) -> None:
        """Do some work again and again; what passes by itself is waited for."""
        while True:
            began = monotonic()
            try:
                await work()
            except Exception as error:
                if not (is_transient(error) or isinstance(error, KafkaError | BrokerUnreachableError)):
                    raise
                self._host.telemetry.log.warning("not done, will be tried again", what=what, error=describe(error))
            await asyncio.sleep(max(0.0, every_s - (monotonic() - began)))
