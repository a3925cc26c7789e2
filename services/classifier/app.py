"""The classifier, wired: requests in; `classified`, `outcomes` and dead letters out."""

from __future__ import annotations

from schemas.topics import REQUESTS
from services.classifier.stage import ClassifierStage
from services.runtime.host import Host
from services.runtime.ids import now
from services.runtime.microbatch import MicroBatch

NAME = "classifier"


class Classifier:
    """The service: one micro-batch consumer."""

    def __init__(self, host: Host) -> None:
        """Register the consumer with the host's broker."""
        self._host = host
        self._consumer = MicroBatch(ClassifierStage(host, now), host)
        # Published transactionally or not: only what was committed is a job.
        self._consumer.subscribe([host.settings.topic(REQUESTS.name)], committed_only=True)

    async def start(self) -> None:
        """Begin to consume."""
        self._consumer.watch()

    async def stop(self) -> None:
        """Nothing runs beside the consumer."""

    def last_poll(self) -> float:
        """Return when the consumer last polled."""
        return self._consumer.last_poll
