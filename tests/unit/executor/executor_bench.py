"""A record on the bench: all that works on it, and time that passes only by waiting."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from executor_builders import DEADLINE, NOW, some_orders
from executor_fake_ledger import RECORD, FakeLease, FakeLedger, FakeRoutes, Outcome
from executor_memory_spool import MemorySpool
from support.tenants import Nobody

from schemas.codes import EntryKind, ErrorCode, FailureClass, Status
from schemas.decision import Orders
from schemas.messages import Head, Routed
from schemas.messages import Outcome as OutcomeMessage
from services.executor.adapter import Failure
from services.executor.recording import Recording
from services.executor.transport import Broken
from services.executor.work import Tools, Work
from services.runtime.ledger import Entry
from services.runtime.settings import Settings
from services.runtime.telemetry import Telemetry
from services.runtime.wakeup import Wakeups

LOST = Broken(FailureClass.TIMEOUT_SENT)
BUSY = Failure(FailureClass.OVERLOADED)
REFUSED = Failure(FailureClass.REFUSED)
WAKEUPS = Wakeups(Settings(DATABASE_URL="postgresql://nowhere", KAFKA_BOOTSTRAP_SERVERS="nowhere:9092"), Nobody())
STARTED, FINISHED, VALIDATED, HELD = (
    EntryKind.ATTEMPT_STARTED,
    EntryKind.ATTEMPT_FINISHED,
    EntryKind.VALIDATED,
    EntryKind.HELD,
)


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = NOW
        self.waits: list[float] = []
        self.while_waiting: Callable[[], None] | None = None

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        if seconds > 0:
            self.waits.append(seconds)
            self.now += timedelta(seconds=seconds)
            if self.while_waiting is not None:
                happens, self.while_waiting = self.while_waiting, None
                happens()


class Bench:
    """A record and all that works on it."""

    def __init__(self, clock: Clock) -> None:
        self.ledger = FakeLedger()
        self.routes = FakeRoutes(self.ledger, [])
        self.lease = FakeLease()
        self.telemetry = Telemetry("executor")
        self.spool = MemorySpool()
        self.clock = clock
        self.events: list[str] = []
        self.in_doubt_cap_usd = Decimal(1)
        self.jitter = 0.5
        self.orders = some_orders()
        self.deadline = DEADLINE

    async def run(self, *outcomes: Outcome, head: Entry | None = None, resume: bool = False) -> OutcomeMessage | None:
        """Carry the record on from a message, and return what is sent to the recorder."""
        self.routes.outcomes = list(outcomes)
        outgoing = await self.work(head, resume=resume).run()
        if outgoing is None:
            return None
        assert outgoing.topic == "waybill.outcomes"
        assert outgoing.key == str(RECORD).encode()
        return OutcomeMessage.model_validate_json(outgoing.value or b"")

    def work(self, head: Entry | None = None, *, resume: bool = False, orders: Orders | None = None) -> Work:
        """Return the work of a message."""
        store: Any = self.ledger
        routes: Any = self.routes
        lease: Any = self.lease
        tools = Tools(
            store=store,
            recording=self.recording,
            routes=routes,
            lease=lease,
            wakeups=WAKEUPS,
            clock=lambda: self.clock.now,
            jitter=lambda: self.jitter,
            attempt_timeout_s=120.0,
            in_doubt_cap_usd=lambda tenant: self.in_doubt_cap_usd,
            own_rules=lambda tenant: None,
            count=self.events.append,
        )
        message = Routed(
            record_id=RECORD,
            tenant="acme",
            head=Head(**(head or self.ledger.chain[-1]).head._asdict()),
            latency_class="background",
            received_at=NOW,
            deadline=self.deadline,
            orders=orders or self.orders,
            resume=resume,
        )
        return Work(tools, message)

    @property
    def recording(self) -> Recording:
        """What records answers here."""
        store: Any = self.ledger
        spool: Any = self.spool
        return Recording(store, spool, self.telemetry)

    def counted(self, event: str) -> float:
        """Return how often something happened that is not counted by the work itself."""
        return self.telemetry.registry.get_sample_value("waybill_executor_events_total", {"event": event}) or 0

    def ends(self, outcome: OutcomeMessage | None, status: Status, code: ErrorCode | None = None) -> None:
        """Check an ending: behind the chain's last entry, for its reason."""
        assert outcome is not None
        assert outcome.status is status
        assert (outcome.error.code if outcome.error else None) == code
        assert (outcome.head.seq, outcome.head.hash) == self.ledger.chain[-1].head
        assert outcome.tenant == "acme"


def ignore(entry: Entry) -> None:
    """Make a statement of an entry added by somebody else."""
