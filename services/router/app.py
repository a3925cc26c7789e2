"""The router, wired: `classified` in; `routed.*` and `outcomes` out; held records released."""

from __future__ import annotations

import os

from schemas.topics import CLASSIFIED
from services.policy import Policy, PolicyError
from services.router.release import Releaser
from services.router.stage import RouterStage
from services.runtime.errors import WaybillError
from services.runtime.host import Host
from services.runtime.ids import now
from services.runtime.microbatch import MicroBatch

NAME = "router"


class PolicyRefusedError(WaybillError):
    """The policy, catalog or aliases cannot be used."""

    hint = "Mend the file named, or set WAYBILL_CONFIG_DIR to the folder that holds them."


class Router:
    """The service: one micro-batch consumer, and the releaser beside it."""

    def __init__(self, host: Host) -> None:
        """Load the policy and register the consumer; raises :class:`PolicyRefusedError`."""
        self._host = host
        try:
            policy = Policy.load(host.settings.config_dir, os.environ)
        except PolicyError as error:
            raise PolicyRefusedError(str(error)) from error
        self._releaser = Releaser(host, policy, now)
        self._consumer = MicroBatch(RouterStage(host, policy, now), host)
        self._consumer.subscribe([host.settings.topic(CLASSIFIED.name)])

    async def start(self) -> None:
        """Begin releasing held records."""
        self._consumer.watch()
        self._host.run_in_background(self._releaser.run)

    async def stop(self) -> None:
        """The host ends the releaser; its transaction is one piece."""

    def last_poll(self) -> float:
        """Return when the consumer last polled."""
        return self._consumer.last_poll
