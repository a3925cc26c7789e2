"""What to do next with a record: a pure function of its decision and of what has been tried.

The first condition that holds decides: an ending (cancelled, past its deadline), a doubt that may not be paid for
again, attempts or money used up, a failure that no route may answer, and else the next attempt.
Source of the order: ``guarantees.md``, sections 3 and 6, as searched by the protocol model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from schemas.codes import ErrorCode, FailureClass, HeldReason, Status, failure_classes
from schemas.decision import Orders, Route
from services.runtime.chain import Progress

TRIES_PER_ROUTE: Final = 2
"""Tries in a row on one route before a fallback is taken."""
BACKOFF_CAP_S: Final = 30.0
BACKOFF_BASE_S: Final = 0.5
MAX_RETRY_AFTER_MS: Final = 60_000
"""A route that asks to wait longer is not waited for: a record in work fills a slot."""
MAX_DOUBLE_PAYING: Final = 1

_NEVER_ROUTED_AROUND: Final = {
    FailureClass.REFUSED: ErrorCode.MODEL_REFUSED,
    FailureClass.CONTENT_FILTERED: ErrorCode.MODEL_REFUSED,
    FailureClass.INVALID_REQUEST: ErrorCode.PROVIDER_FAILED,
}
_NOT_AGAIN_HERE: Final = frozenset(
    {FailureClass.AUTH, FailureClass.QUOTA_EXHAUSTED, FailureClass.MODEL_GONE, FailureClass.CONTEXT_TOO_LONG}
)


@dataclass(frozen=True, slots=True)
class Call:
    """Make another attempt, after so many seconds."""

    route: Route
    fallback: bool
    may_double_pay: bool
    worst_case_usd: Decimal
    delay_s: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait for a person."""

    reason: HeldReason


@dataclass(frozen=True, slots=True)
class End:
    """Nothing more is to be tried."""

    status: Status
    code: ErrorCode | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the plan looks at beside the record."""

    now: datetime
    deadline: datetime
    knows: Callable[[Route], bool]
    """Whether the catalog still has a route."""
    cancelled: bool
    in_doubt_cap_usd: Decimal
    worst_case: Callable[[Route], Decimal]
    """The most that one attempt on a route can cost, US dollars."""
    jitter: Callable[[], float]
    """A number in [0, 1): full jitter of the backoff."""
    retry_after_ms: int | None = None
    """What the last failure asked to wait."""


def next_step(orders: Orders, progress: Progress, circumstances: Circumstances) -> Call | Hold | End:
    """Return what to do next with a record whose last attempt did not bring an answer."""
    if circumstances.cancelled:
        return End(Status.CANCELLED, ErrorCode.CANCELLED)
    if circumstances.deadline <= circumstances.now:
        return End(Status.EXPIRED, ErrorCode.DEADLINE_PASSED)
    attempts_left = len(progress.claims) < orders.budgets.max_attempts
    last = progress.claims[-1] if progress.claims else None
    if last is not None and last.failure_class in _NEVER_ROUTED_AROUND and not progress.in_doubt:
        return End(Status.FAILED, _NEVER_ROUTED_AROUND[last.failure_class])
    chosen = _route(orders, progress, circumstances.retry_after_ms or 0)
    if chosen is not None and not circumstances.knows(chosen[0]):
        chosen = None
    worst_case = circumstances.worst_case(chosen[0]) if chosen else Decimal(0)
    affordable = progress.spent_usd + worst_case <= orders.budgets.max_cost_usd
    if progress.in_doubt:
        payable = progress.double_paying < MAX_DOUBLE_PAYING and worst_case <= circumstances.in_doubt_cap_usd
        if not (attempts_left and chosen and payable and affordable):
            return Hold(HeldReason.IN_DOUBT)
    if not attempts_left or chosen is None:
        return End(Status.FAILED, ErrorCode.PROVIDER_FAILED)
    if not affordable:
        return End(Status.FAILED, ErrorCode.BUDGET_EXCEEDED)
    route, fallback = chosen
    return Call(route, fallback, progress.in_doubt, worst_case, _delay(progress, route, circumstances))


def _route(orders: Orders, progress: Progress, retry_after_ms: int) -> tuple[Route, bool] | None:
    """Return the next route and whether it is a fallback; None where the failure leaves no route."""
    if not progress.claims:
        return orders.route, False
    last = progress.claims[-1]
    failure = last.failure_class or FailureClass.TIMEOUT_SENT
    current = _known(orders, last.route)
    if current is None:
        return orders.route, False
    stays = failure not in _NOT_AGAIN_HERE and retry_after_ms <= MAX_RETRY_AFTER_MS
    tries = _tries_in_a_row(progress)
    if stays and tries < TRIES_PER_ROUTE:
        return current
    tried = {claim.route for claim in progress.claims}
    for fallback in orders.fallbacks:
        if fallback.route.name not in tried and failure in failure_classes(fallback.when):
            return fallback.route, True
    # An answer that cannot be read was charged all the same: it is not asked for again and again.
    again = stays and not (failure is FailureClass.MALFORMED_ANSWER and tries >= TRIES_PER_ROUTE)
    return current if again else None


def _known(orders: Orders, name: str) -> tuple[Route, bool] | None:
    """Return the decision's route of that name; None where a new decision no longer has it, and begins anew."""
    if name == orders.route.name:
        return orders.route, False
    for fallback in orders.fallbacks:
        if fallback.route.name == name:
            return fallback.route, True
    return None


def _tries_in_a_row(progress: Progress) -> int:
    route = progress.claims[-1].route
    tries = 0
    for claim in reversed(progress.claims):
        if claim.route != route:
            break
        tries += 1
    return tries


def _delay(progress: Progress, route: Route, circumstances: Circumstances) -> float:
    """Full jitter over an exponential ceiling, never less than the provider asked for; none before another route."""
    if not progress.claims or progress.claims[-1].route != route.name:
        return 0.0
    ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** (_tries_in_a_row(progress) - 1))
    return max(circumstances.jitter() * ceiling, (circumstances.retry_after_ms or 0) / 1000)
