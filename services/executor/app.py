"""The executor, wired: `routed.*` in, through a sliding window; `outcomes` out."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from aiokafka import ConsumerRecord
from faststream import AckPolicy
from pydantic import ValidationError

from schemas.codes import ErrorCode, Status
from schemas.messages import Routed
from schemas.topics import ROUTED_BACKGROUND, ROUTED_BATCH
from services.detect import warm
from services.executor.recording import Recording
from services.executor.recovery import Recovery
from services.executor.routes import Routes
from services.executor.spool import Spool
from services.executor.store import Store
from services.executor.transport import Transport
from services.executor.work import Tools, Work
from services.policy import Catalog, PolicyError
from services.runtime.coalesce import Coalescer
from services.runtime.errors import WaybillError
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.faults import blames_an_item
from services.runtime.host import Host
from services.runtime.ids import now
from services.runtime.kafka import FETCH_MAX_WAIT_MS, FETCH_MIN_BYTES, REBALANCE_TIMEOUT_MS, Outgoing
from services.runtime.lease import Lease
from services.runtime.microbatch import dead_letter
from services.runtime.secrets import Secrets
from services.runtime.sliding import SlidingConsumer
from services.runtime.telemetry import describe
from services.tenancy.own_rules import CompiledRules

NAME = "executor"
OUTCOMES_LINGER_S: Final = 0.01
"""How long an outcome waits for others: a message of its own costs the broker more than the wait costs anybody."""


class CatalogRefusedError(WaybillError):
    """The catalog cannot be used."""

    hint = "Mend the file named, or set WAYBILL_CONFIG_DIR to the folder that holds it."


class Executor:
    """The service: one sliding-window consumer."""

    def __init__(self, host: Host) -> None:
        """Load the catalog and register the consumer; raises :class:`CatalogRefusedError`."""
        # Before the service joins its group, as the classifier does: answers and jobs to redact are looked at here.
        warm()
        settings = host.settings
        self._host = host
        try:
            catalog = Catalog.load(settings.config_dir / "catalog.yaml", os.environ)
        except PolicyError as error:
            raise CatalogRefusedError(str(error)) from error
        self._transport = Transport(settings.max_in_flight)
        self._lease = Lease(host.pool, host.telemetry, seconds=settings.lease_s)
        self._outgoing = Coalescer[Outgoing, None](self._send, most=500, parallel=2, linger_s=OUTCOMES_LINGER_S)
        store = Store(host.pool, host.keyring, host.telemetry)
        self._spool = Spool(settings.spool_dir, self._lease.worker, host.telemetry)
        recording = Recording(store, self._spool, host.telemetry)
        self._recovery = Recovery(
            settings.spool_dir, recording, store, host.wakeups, self._outgoing.ask, host.telemetry
        )
        own_rules = CompiledRules()
        self._tools = Tools(
            store=store,
            recording=recording,
            routes=Routes(catalog, self._transport, Secrets(settings.secrets_dir)),
            lease=self._lease,
            wakeups=host.wakeups,
            clock=now,
            jitter=random.random,
            attempt_timeout_s=settings.attempt_timeout_s,
            in_doubt_cap_usd=self._in_doubt_cap,
            own_rules=lambda tenant: own_rules.of(host.tenants.current, tenant),
            count=lambda event: host.telemetry.events.labels(event).inc(),
        )
        self._consumer = SlidingConsumer(self._carry, max_in_flight=settings.max_in_flight, telemetry=host.telemetry)
        host.telemetry.gauges.labels("in_flight").set_function(lambda: self._consumer.in_flight)
        host.telemetry.gauges.labels("answers_spooled").set_function(lambda: self._spool.outstanding)
        self._subscriber = host.broker.subscriber(
            settings.topic(ROUTED_BACKGROUND.name),
            settings.topic(ROUTED_BATCH.name),
            group_id=settings.group(NAME),
            ack_policy=AckPolicy.MANUAL,
            listener=self._consumer,
            auto_offset_reset="earliest",
            fetch_min_bytes=FETCH_MIN_BYTES,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        )

    async def start(self) -> None:
        """Take the lease and record what dead processes left, then begin to consume.

        In this order: a claim whose answer lies on this machine is answered before its message can come again.
        """
        await self._lease.start()
        await self._spool.open()
        await self._recovery.recover()
        consumer = self._subscriber.consumer
        assert consumer is not None, "the broker has started"
        self._consumer.attach(consumer)
        self._host.run_in_background(self._consumer.run)
        self._host.run_in_background(self._recovery.run)
        self._host.run_in_background(self._watch)

    async def stop(self) -> None:
        """Let calls in flight end, commit, give the lease up.

        With answers on disk it is left to expire: until then their claims are this worker's, and whoever starts on this
        machine next records them.
        """
        cut_off = await self._consumer.drain(self._host.settings.drain_timeout_s)
        await self._transport.close()
        spooled = await self._spool.close()
        if cut_off:
            self._host.telemetry.log.warning("records cut off", records=cut_off, answers_spooled=spooled)
        await self._lease.stop(release=not spooled)

    def last_poll(self) -> float:
        """Return when the consumer last polled."""
        return self._consumer.last_poll

    def _in_doubt_cap(self, tenant: str) -> Decimal:
        agreed = self._host.tenants.current.in_doubt_cap_usd(tenant)
        return self._host.settings.in_doubt_cap_usd if agreed is None else agreed

    async def _watch(self) -> None:
        self._host.fail(await self._consumer.failure)

    async def _carry(self, record: ConsumerRecord[bytes, bytes]) -> None:
        """Carry one message to its end: its slot is done when this returns."""
        try:
            message = Routed.model_validate_json(record.value or b"")
        except ValidationError:
            reason = "not a routed message of this release"
            await self._outgoing.ask(dead_letter(self._host.settings, record, ErrorCode.INVALID_MESSAGE, reason))
            return
        work = Work(self._tools, message)
        try:
            outgoing = await work.run()
        except Exception as error:
            if not blames_an_item(error):
                raise
            self._host.telemetry.log.error(
                "work on a record failed", record_id=str(message.record_id), error=describe(error)
            )
            head = work.head
            outgoing = self._host.wakeups.outcome(
                message.record_id, message.tenant, head.seq, head.hash, Status.FAILED, ErrorCode.INTERNAL
            )
        if outgoing is not None:
            await self._outgoing.ask(outgoing)
            reach(FaultPoint.EXECUTOR_OUTCOME_PRODUCED)
        self._host.telemetry.messages.inc()

    async def _send(self, messages: Sequence[Outgoing]) -> Sequence[None]:
        await self._host.producer.send(messages)
        return [None] * len(messages)
