"""The executor's database, provider and lease in memory; the ledger obeys the fence as ``record.append`` does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from executor_builders import NOW, a_job, a_route
from pydantic import TypeAdapter
from support.usage import NO_USAGE

from schemas.codes import EntryKind
from schemas.decision import Orders, Route
from schemas.entries import DATA, Usage
from services.executor.adapter import Answer, Failure, WireRequest
from services.executor.routes import CallResult
from services.executor.store import AppendRequest, Aside, HeldRow, StoredJob
from services.executor.transport import Broken
from services.runtime import vault
from services.runtime.chain import progress_of
from services.runtime.keyring import RecordKey
from services.runtime.ledger import ChainWriter, Entry, verify_chain
from services.runtime.vault import Content

T = TypeVar("T")
RECORD: Final = UUID("01936b1e-0000-7000-8000-000000000001")
MAY_FOLLOW: Final[dict[str, set[EntryKind]]] = {
    "decided": {EntryKind.ATTEMPT_STARTED, EntryKind.HELD, EntryKind.SEALED},
    "attempt_started": {
        EntryKind.ATTEMPT_FINISHED,
        EntryKind.ATTEMPT_STARTED,
        EntryKind.HELD,
        EntryKind.SEALED,
    },
    "attempt_finished": {EntryKind.VALIDATED, EntryKind.ATTEMPT_STARTED, EntryKind.HELD, EntryKind.SEALED},
    "validated": {EntryKind.SEALED},
    "held": {EntryKind.RELEASED},
    "released": {EntryKind.DECIDED, EntryKind.ATTEMPT_STARTED, EntryKind.HELD, EntryKind.SEALED},
    "sealed": set(),
}


RECEIVED: Final = {"tenant": "acme", "source": {"topic": "waybill.requests", "partition": 0, "offset": 0}}


@cache
def _shape(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(DATA[EntryKind(kind)])


class FakeLedger:
    """One record's chain, its job, and what was written beside it."""

    def __init__(self) -> None:
        self.key = RecordKey(RECORD, bytes(48))
        self.job: dict[str, Any] | None = a_job()
        self.away = False
        """Whether the database is known not to answer."""
        self.cancelled = False
        self.reads = 0
        self.contents: list[Content] = []
        self.requests: list[Content] = []
        """What was kept of requests; everything else is in :attr:`contents`."""
        self.held: list[HeldRow] = []
        self.asides: list[Aside] = []
        self.before_append: dict[EntryKind, Callable[[], None]] = {}
        """By the kind of an append's first entry: what somebody else does just before it, once."""
        self.ambiguous: set[EntryKind] = set()
        """Appends whose commit went through although its answer was lost: the second try finds them stored."""
        writer = ChainWriter(RECORD)
        for kind in (EntryKind.RECEIVED, EntryKind.CLASSIFIED, EntryKind.DECIDED):
            writer.add(kind, RECEIVED if kind == EntryKind.RECEIVED else {}, NOW)
        self.chain = writer.entries

    # -- what the executor asks of the store ----------------------------------------------------------------------

    async def read_job(self, record_id: UUID) -> StoredJob:
        """Return the job, unless it was erased."""
        assert record_id == RECORD
        self.reads += 1
        return StoredJob(self.job, self.key if self.job is not None else None, self.cancelled)

    async def read_key(self, record_id: UUID) -> RecordKey | None:
        """Return the key, unless the job was erased."""
        assert record_id == RECORD
        return self.key if self.job is not None else None

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Ask a database that is there."""
        return await work()

    async def read_chain(self, record_id: UUID) -> list[Entry]:
        """Return the chain of the one record that there is."""
        return list(self.chain) if record_id == RECORD else []

    async def append(self, request: AppendRequest) -> list[Entry] | None:
        """Append behind the fence; None if it went in, else what is stored from that position on."""
        first = request.chain.entries[0]
        kind = EntryKind(first.kind)
        if (happens := self.before_append.pop(kind, None)) is not None:
            happens()
        stored = self._append_once(request)
        if stored is None and kind in self.ambiguous:
            self.ambiguous.discard(kind)
            if (meanwhile := self.before_append.pop(kind, None)) is not None:
                meanwhile()
            stored = self._append_once(request)
        return stored

    async def put_aside(self, aside: Aside) -> None:
        """Keep what a fenced worker learned."""
        _shape(aside.kind).validate_python(aside.data)
        if aside.entry_id not in [other.entry_id for other in self.asides]:
            self.asides.append(aside)

    def _append_once(self, request: AppendRequest) -> list[Entry] | None:
        first = request.chain.entries[0]
        last = self.chain[-1]
        if first.seq != len(self.chain) or request.chain.prev != last.hash:
            return self.chain[first.seq :]
        assert first.kind in MAY_FOLLOW[last.kind], f"{first.kind} after {last.kind}"
        for entry in request.chain.entries:
            _shape(entry.kind).validate_python(entry.content()["data"])
        self.chain += request.chain.entries
        assert verify_chain(self.chain) is None
        if request.content is not None:
            kept = self.requests if request.content.kind == vault.REQUEST else self.contents
            kept.append(request.content)
        if request.held is not None:
            self.held.append(request.held)
        return None

    # -- what others do -------------------------------------------------------------------------------------------

    def add(self, kind: EntryKind, data: dict[str, Any], entry_id: UUID | None = None) -> Entry:
        """Append as somebody else does."""
        _shape(kind).validate_python(data)
        writer = ChainWriter(RECORD, self.chain[-1].head)
        self.chain.append(writer.add(kind, data, NOW, entry_id=entry_id))
        return self.chain[-1]

    def claimed_by(
        self,
        worker: UUID,
        *,
        may_double_pay: bool = False,
        deadline: datetime = NOW + timedelta(minutes=2),
        route: Route | None = None,
    ) -> Entry:
        """Append another worker's claim."""
        data = {
            "attempt": 1 + len(progress_of(self.chain).claims),
            "worker": str(worker),
            "route": (route or a_route()).model_dump(mode="json"),
            "layout": "plain-1",
            "fallback": False,
            "may_double_pay": may_double_pay,
            "request_digest": "0" * 64,
            "max_output_tokens": 100,
            "worst_case_usd": "0.01",
            "attempt_deadline": deadline.isoformat(),
        }
        return self.add(EntryKind.ATTEMPT_STARTED, data, uuid4())

    # -- what tests look at ---------------------------------------------------------------------------------------

    @property
    def kinds(self) -> list[str]:
        """The kinds after the decision, in order."""
        return [entry.kind for entry in self.chain[3:]]

    def data(self, kind: EntryKind) -> list[dict[str, Any]]:
        """Return the data of every entry of a kind."""
        return [entry.content()["data"] for entry in self.chain if entry.kind == kind]


Outcome = Answer | Failure | Broken


class FakeRoutes:
    """All providers: each call takes the next outcome, and is made only behind a stored claim of its own."""

    def __init__(self, ledger: FakeLedger, outcomes: list[Outcome]) -> None:
        self.outcomes = outcomes
        self.calls: list[tuple[Route, UUID]] = []
        self.jobs: list[dict[str, Any]] = []
        """What requests were made of."""
        self.while_calling: Callable[[], Awaitable[None] | None] | None = None
        """Happens once, while the next call is under way."""
        self.price = Decimal("0.01")
        self._ledger = ledger

    def knows(self, route: Route) -> bool:
        """Every route is in the catalog."""
        return True

    def request(self, job: dict[str, Any], orders: Orders, route: Route) -> WireRequest:
        """Return a request that names its route."""
        self.jobs.append(job)
        return WireRequest("/chat/completions", route.name.encode())

    def worst_case(self, route: Route, input_tokens: int, max_output_tokens: int) -> Decimal:
        """Return the price."""
        return self.price

    def cost(self, route: Route, usage: Usage) -> Decimal:
        """Return a hundredth of a cent per output token."""
        return Decimal("0.0001") * usage["output_tokens"]

    async def call(self, request: WireRequest, route: Route, claim: UUID, *, timeout_s: float) -> CallResult:
        """Take the next outcome."""
        claims = [entry for entry in self._ledger.chain if entry.entry_id == claim]
        assert [entry.kind for entry in claims] == [EntryKind.ATTEMPT_STARTED], "a call without its claim"
        assert claim not in [called for _, called in self.calls], "two calls for one claim"
        assert request.body == route.name.encode()
        self.calls.append((route, claim))
        if self.while_calling is not None:
            happens, self.while_calling = self.while_calling, None
            if (waits := happens()) is not None:
                await waits
        outcome = self.outcomes.pop(0)
        return CallResult(outcome, None if isinstance(outcome, Broken) else 200, "r-1")


class FakeLease:
    """This worker's lease, and who else lives."""

    def __init__(self) -> None:
        self.worker = uuid4()
        self.valid = True
        self.others: set[UUID] = set()
        self.waited = 0

    async def until_valid(self) -> None:
        """Renew it."""
        self.waited += not self.valid
        self.valid = True

    async def alive(self, workers: list[UUID]) -> set[UUID]:
        """Return who lives by the database's clock."""
        return {worker for worker in workers if worker in self.others | {self.worker}}


def an_answer(text: str = "Because.", output_tokens: int = 3, finish_reason: str = "stop") -> Answer:
    """Return what a provider answers."""
    usage: Usage = {**NO_USAGE, "output_tokens": output_tokens}
    return Answer({"choices": [{"message": {"content": text}}]}, text, usage, finish_reason, "small-1")
