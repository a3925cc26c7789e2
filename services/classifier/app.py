"""The classifier, wired: requests in, shared and tenants' own; `classified`, `outcomes` and dead letters out."""

from __future__ import annotations

from schemas.topics import REQUESTS
from services.classifier.stage import ClassifierStage
from services.runtime.errors import WaybillError
from services.runtime.host import Host
from services.runtime.ids import now
from services.runtime.microbatch import MicroBatch

NAME = "classifier"


class NoTenantsError(WaybillError):
    """No tenants have been applied: every job would be nobody's."""

    hint = "Write config/tenants.yaml and run `waybill tenant apply --reason TEXT`."


class Classifier:
    """The service: one micro-batch consumer."""

    def __init__(self, host: Host) -> None:
        """Register the consumer with the host's broker; raises :class:`NoTenantsError`."""
        self._host = host
        if not host.tenants.seq and not host.settings.allow_unsigned:
            raise NoTenantsError
        self._consumer = MicroBatch(ClassifierStage(host, now), host)
        # Published transactionally or not: only what was committed is a job.
        pattern = host.settings.topics_like(REQUESTS.name)
        self._consumer.subscribe(pattern=pattern, committed_only=True)

    async def start(self) -> None:
        """Begin to consume."""
        self._consumer.watch()

    async def stop(self) -> None:
        """Nothing runs beside the consumer."""

    def last_poll(self) -> float:
        """Return when the consumer last polled."""
        return self._consumer.last_poll
