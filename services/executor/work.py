"""One record's way through the executor: a loop of named steps over one state.

    read ─▶ plan ─▶ wait ─▶ claim ─▶ call ─▶ record ─▶ plan …
                └▶ hold                       └▶ fenced: aside
                └▶ end ─▶ outcomes

The claim is committed before the call, and only who holds it calls. Whoever meets another's open claim leaves it to its
owner while that lease lives; afterwards the claim is in doubt, and stays open: its answer, if it comes, goes aside.
Where the process dies with an answer in hand that the spool has, ``recovery`` goes on from ``record``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import Any, Final
from uuid import UUID

from schemas.codes import EntryKind, ErrorCode, FailureClass, Status
from schemas.decision import Route
from schemas.entries import AttemptStarted, Check, Held, Validated
from schemas.messages import Head, Routed
from services.detect import OwnRules
from services.executor import plan
from services.executor.adapter import Answer, WireRequest
from services.executor.finished import Finished, finished_of
from services.executor.guard import Guard, guard_of
from services.executor.in_hand import in_hand
from services.executor.openai_compatible import LAYOUT
from services.executor.recording import Recording
from services.executor.routes import CallResult, Routes
from services.executor.store import AppendRequest, HeldRow, Store
from services.executor.transport import Broken
from services.runtime import ledger, vault
from services.runtime.chain import Claim, Progress, claim_of, progress_of
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.ids import new_claim_id
from services.runtime.kafka import Outgoing
from services.runtime.keyring import RecordKey
from services.runtime.lease import Lease
from services.runtime.ledger import ChainHead, ChainWriter, Entry
from services.runtime.surroundings import monotonic
from services.runtime.wakeup import NOTIFY_ALL, Wakeups

CLAIM_GRACE_S: Final = 30.0
"""How long after its call's timeout a claim still belongs to a live worker. Our clock sets the deadline and other
executors' clocks meet it, so this also covers how far those are apart; beyond it a call may be paid twice, which the
record then says. Committing the claim may use it up: then no call is made."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the work on a record needs; one for all records of a process."""

    store: Store
    recording: Recording
    routes: Routes
    lease: Lease
    wakeups: Wakeups
    clock: Callable[[], datetime]
    jitter: Callable[[], float]
    attempt_timeout_s: float
    in_doubt_cap_usd: Callable[[str], Decimal]
    """By tenant: up to which worst case a call in doubt is tried once more."""
    own_rules: Callable[[str], OwnRules | None]
    """By tenant: its rules for what is in a job, as they are in force; raises ``OwnRulesError``."""
    count: Callable[[str], None]


class Fenced(Enum):
    """Our append found other rows: what we may do now."""

    STALE = auto()
    """Somebody carried the record further, or a live worker holds it: stop."""
    IN_DOUBT = auto()
    """An open claim of a worker that is gone: plan again behind it."""


@dataclass(slots=True)
class Work:
    """One record in work. :meth:`run` returns the message that follows, or None where there is none."""

    tools: Tools
    message: Routed
    head: Head | ChainHead = field(init=False)
    progress: Progress = field(init=False, default_factory=Progress)
    retry_after_ms: int | None = field(init=False, default=None)

    async def run(self) -> Outgoing | None:
        """Carry the record on until it ends, waits, or turns out to be somebody else's."""
        self.head = self.message.head
        stored = await self.tools.store.read_job(self.message.record_id)
        reach(FaultPoint.EXECUTOR_JOB_READ)
        if self.message.resume:
            last = await self._catch_up()
            if last is None:
                return None
            if last.kind == EntryKind.VALIDATED:
                return self._end(_end_after(last.content()["data"]))
        if stored.job is None or stored.key is None:
            return self._end(plan.End(Status.CANCELLED, ErrorCode.CONTENT_ERASED))
        return await self._attempts(stored.job, stored.key, cancelled=stored.cancelled)

    async def _attempts(self, job: Mapping[str, Any], key: RecordKey, *, cancelled: bool) -> Outgoing | None:
        guard: Guard | None = None
        while True:
            step = plan.next_step(self.message.orders, self.progress, self._circumstances(cancelled=cancelled))
            if isinstance(step, plan.End):
                return self._end(step)
            if isinstance(step, plan.Hold):
                met = await self._hold(step)
                if met is Fenced.IN_DOUBT:
                    continue
                return await self._notice_of(step) if met is None and job.get("notify") == NOTIFY_ALL else None
            if self.progress.claims:  # time has passed since the job was read
                left_s = (self.message.deadline - self.tools.clock()).total_seconds()
                await asyncio.sleep(max(0.0, min(step.delay_s, left_s)))
                stored = await self.tools.store.read_job(self.message.record_id)
                if stored.job is None:
                    return self._end(plan.End(Status.CANCELLED, ErrorCode.CONTENT_ERASED))
                cancelled = stored.cancelled
                if cancelled or self.message.deadline <= self.tools.clock():
                    continue
            guard = guard or await guard_of(job, self.message.orders, lambda: self.tools.own_rules(self.message.tenant))
            if guard is None:
                self.tools.count("redaction_failed")
                return self._end(plan.End(Status.FAILED, ErrorCode.REDACTION_FAILED))
            request = self.tools.routes.request(guard.sent, self.message.orders, step.route)
            claim = await self._claim(step, request, key, guard.layout(LAYOUT))
            if claim is Fenced.STALE:
                return None
            if claim is Fenced.IN_DOUBT:
                continue
            finished = await self._call(step, claim, request, guard)
            reach(FaultPoint.EXECUTOR_ANSWERED)
            if not await self._record(finished, claim, step.route, key):
                return None
            reach(FaultPoint.EXECUTOR_ANSWER_STORED)
            if finished.validated is not None:
                return self._end(_end_after(finished.validated))
            self.progress.finish(claim.entry_id, {**finished.data})
            self.retry_after_ms = finished.data["retry_after_ms"]

    # -- where we are ---------------------------------------------------------------------------------------------

    async def _catch_up(self) -> Entry | None:
        """Read what was tried before the message's head, and return the head; None where it is not ours."""
        chain = await self.tools.store.read_chain(self.message.record_id)
        if len(chain) != self.head.seq + 1 or chain[-1].hash.hex() != self.head.hash:
            return None
        self.progress = progress_of(chain)
        last = chain[-1]
        if last.kind == EntryKind.ATTEMPT_STARTED and await self._belongs_to_its_worker(self.progress.claims[-1]):
            return None
        return last

    def _circumstances(self, *, cancelled: bool) -> plan.Circumstances:
        orders = self.message.orders
        return plan.Circumstances(
            now=self.tools.clock(),
            deadline=self.message.deadline,
            knows=self.tools.routes.knows,
            cancelled=cancelled,
            in_doubt_cap_usd=self.tools.in_doubt_cap_usd(self.message.tenant),
            worst_case=lambda route: self.tools.routes.worst_case(
                route, orders.estimate.input_tokens, orders.budgets.max_output_tokens
            ),
            jitter=self.tools.jitter,
            retry_after_ms=self.retry_after_ms,
        )

    async def _belongs_to_its_worker(self, claim: Claim) -> bool:
        """Whether an open claim is its worker's to answer: the lease lives, and the call's own time is not over."""
        if claim.deadline <= self.tools.clock():
            return False
        return claim.worker in await self.tools.store.patiently(lambda: self.tools.lease.alive([claim.worker]))

    async def _meets(self, stored: list[Entry]) -> Fenced:
        """Our append found other rows: find out whether we may go on behind them."""
        if len(stored) != 1 or stored[0].kind != EntryKind.ATTEMPT_STARTED:
            return Fenced.STALE
        claim = claim_of(stored[0], stored[0].content()["data"])
        if await self._belongs_to_its_worker(claim):
            return Fenced.STALE
        self.progress.start(claim)
        self.head = stored[0].head
        self.tools.count("claim_in_doubt")
        return Fenced.IN_DOUBT

    # -- claim ----------------------------------------------------------------------------------------------------

    async def _claim(self, step: plan.Call, request: WireRequest, key: RecordKey, layout: str) -> Claim | Fenced:
        """Commit the claim of a call, with what it is going to send; only who holds it makes the call."""
        await self.tools.lease.until_valid()
        now = self.tools.clock()
        data = AttemptStarted(
            attempt=len(self.progress.claims) + 1,
            worker=str(self.tools.lease.worker),
            route=step.route.model_dump(mode="json"),
            layout=layout,
            fallback=step.fallback,
            may_double_pay=step.may_double_pay,
            request_digest=key.digest(request.body),
            max_output_tokens=self.message.orders.budgets.max_output_tokens,
            worst_case_usd=format(step.worst_case_usd, "f"),
            attempt_deadline=(now + timedelta(seconds=self.tools.attempt_timeout_s + CLAIM_GRACE_S)).isoformat(),
        )
        writer = ChainWriter(self.message.record_id, self.head)
        entry = writer.add(EntryKind.ATTEMPT_STARTED, data, now, entry_id=new_claim_id())
        ciphertext = key.encrypt(entry.entry_id, vault.REQUEST, request.body)
        content = vault.Content(entry.record_id, entry.entry_id, vault.REQUEST, ciphertext)
        stored = await self.tools.store.append(AppendRequest(ledger.writes(writer, self.head, now), content))
        if stored is not None and not (_is_stored(entry, stored) and len(stored) == 1):
            return await self._meets(stored)
        reach(FaultPoint.EXECUTOR_CLAIM_STORED)
        self.head = entry.head
        claim = claim_of(entry, {**data})
        self.progress.start(claim)
        return claim

    # -- call -----------------------------------------------------------------------------------------------------

    async def _call(self, step: plan.Call, claim: Claim, request: WireRequest, guard: Guard) -> Finished:
        """Make the call, if the claim is surely still ours and stays so until its timeout.

        Nothing can keep a process from being paused between this check and the wire. What holds then: others may take
        the claim for doubtful while its call is under way, and try again, marked ``may_double_pay``; the answer, when
        it comes, finds the record carried on and goes aside with its cost. It may be paid twice, but never in silence.
        """
        began = monotonic()
        if self.tools.lease.valid and self._lasts(claim):
            call = await self.tools.routes.call(
                request, step.route, claim.entry_id, timeout_s=self.tools.attempt_timeout_s
            )
        else:
            # Paused or kept waiting between claim and call: others may hold the claim for lost by now.
            call = CallResult(Broken(FailureClass.TIMEOUT_UNSENT))
        latency_ms = round((monotonic() - began) * 1000)
        checked: list[Check] = []
        if isinstance(call.outcome, Answer):
            answer, checked = await guard.examine(call.outcome)
            call = replace(call, outcome=answer)
        return finished_of(
            call,
            claim,
            guard.job,
            cost=lambda usage: self.tools.routes.cost(step.route, usage),
            latency_ms=latency_ms,
            checked=checked,
            safety_actions=guard.safety_actions,
        )

    def _lasts(self, claim: Claim) -> bool:
        """Whether a call started now ends before the claim's own deadline, which others look at too."""
        return self.tools.clock() + timedelta(seconds=self.tools.attempt_timeout_s) <= claim.deadline

    # -- record ---------------------------------------------------------------------------------------------------

    async def _record(self, finished: Finished, claim: Claim, route: Route, key: RecordKey) -> bool:
        """Record what a call brought; False where the record is no longer ours."""
        answer = in_hand(
            finished,
            record_id=self.message.record_id,
            head=self.head,
            claim=claim,
            route=route,
            key=key,
            at=self.tools.clock(),
        )
        head = await self.tools.recording.record(answer)
        if head is None:
            return False
        self.head = head
        return True

    # -- hold, end ------------------------------------------------------------------------------------------------

    async def _hold(self, step: plan.Hold) -> Fenced | None:
        """Hold the record; it then belongs to its held row."""
        now = self.tools.clock()
        doubtful: UUID | None = self.progress.unresolved[-1].entry_id if self.progress.unresolved else None
        writer = ChainWriter(self.message.record_id, self.head)
        held = Held(reason=step.reason, due=None, claim=None if doubtful is None else str(doubtful))
        entry = writer.add(EntryKind.HELD, held, now)
        row = HeldRow(entry.record_id, entry.seq, self.message.tenant, step.reason, None, self.message.deadline)
        stored = await self.tools.store.append(AppendRequest(ledger.writes(writer, self.head, now), held=row))
        if stored is not None and not _is_stored(entry, stored):
            return await self._meets(stored)
        reach(FaultPoint.EXECUTOR_HELD_STORED)
        self.tools.count("held")
        return None

    async def _notice_of(self, step: plan.Hold) -> Outgoing:
        # Which topic its backend reads follows from where the job stood; only the record says so.
        chain = await self.tools.store.read_chain(self.message.record_id)
        return self.tools.wakeups.notice(
            chain[0].content()["data"], self.message.record_id, "held", self.tools.clock(), step.reason
        )

    def _end(self, end: plan.End) -> Outgoing:
        return self.tools.wakeups.outcome(
            self.message.record_id, self.message.tenant, self.head.seq, self.head.hash, end.status, end.code
        )


def _is_stored(entry: Entry, stored: list[Entry]) -> bool:
    """Whether the rows that an append met begin with our own: an ambiguous commit, settled."""
    return bool(stored) and stored[0].entry_id == entry.entry_id


def _end_after(validated: Mapping[str, Any] | Validated) -> plan.End:
    if validated["passed"]:
        return plan.End(Status.SUCCEEDED)
    return plan.End(Status.FAILED, ErrorCode.VALIDATION_FAILED)
