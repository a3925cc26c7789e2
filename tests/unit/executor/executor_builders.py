"""Orders, routes and jobs for the tests of the executor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from schemas.codes import FailureClass, RiskTier
from schemas.decision import AppliedPolicy, Budgets, Estimate, Fallback, Orders, Route
from services.executor.plan import Circumstances
from services.runtime.chain import Claim, Progress

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DEADLINE = NOW + timedelta(hours=48)
WORKER = UUID(int=7)


def a_route(provider: str = "alpha", **changes: Any) -> Route:
    """Return a route to a small model."""
    fields = {"provider": provider, "model": "small", "version": "1", "region": "eu", "tier": "standard"}
    return Route(**{**fields, **changes})


ALPHA, BETA, GAMMA = a_route("alpha"), a_route("beta"), a_route("gamma")


def some_orders(
    *fallbacks: tuple[Route, list[str]],
    route: Route = ALPHA,
    max_attempts: int = 6,
    max_cost_usd: str = "10",
    max_output_tokens: int = 100,
    tools_allowed: tuple[str, ...] = (),
    requires_approval_for: tuple[str, ...] = (),
) -> Orders:
    """Return what the executor is to carry out."""
    return Orders(
        route=route,
        budgets=Budgets(
            max_input_tokens=1_000,
            max_output_tokens=max_output_tokens,
            max_tool_calls=0,
            max_attempts=max_attempts,
            deadline_ms=172_800_000,
            max_cost_usd=Decimal(max_cost_usd),
        ),
        policy=AppliedPolicy(
            bundle="sha256:0",
            risk_tier=RiskTier.LOW,
            safety_mode="standard",
            tools_allowed=list(tools_allowed),
            requires_approval_for=list(requires_approval_for),
            require_citations=False,
            human_review=False,
            retention="any",
        ),
        fallbacks=[Fallback(route=route, when=when) for route, when in fallbacks],
        estimate=Estimate(input_tokens=10, output_tokens=10, cost_usd=Decimal("0.001"), worst_case_usd=Decimal("0.01")),
    )


def circumstances(**changes: Any) -> Circumstances:
    """Return ordinary ones: every route is known and costs at most a cent, doubt may cost a dollar."""
    fields: dict[str, Any] = {
        "now": NOW,
        "deadline": DEADLINE,
        "knows": lambda route: True,
        "cancelled": False,
        "in_doubt_cap_usd": Decimal(1),
        "worst_case": lambda route: Decimal("0.01"),
        "jitter": lambda: 0.5,
    }
    return Circumstances(**{**fields, **changes})


def a_claim(
    progress: Progress,
    route: Route = ALPHA,
    *,
    may_double_pay: bool = False,
    worst_case_usd: Decimal = Decimal("0.01"),
) -> Claim:
    """Return the next claim after what was tried."""
    number = len(progress.claims)
    return Claim(
        entry_id=uuid4(),
        seq=3 + 2 * number,
        attempt=number + 1,
        worker=WORKER,
        route=route.name,
        may_double_pay=may_double_pay,
        worst_case_usd=worst_case_usd,
        deadline=NOW + timedelta(seconds=150),
    )


def tried(*attempts: tuple[Route, FailureClass | None], progress: Progress | None = None) -> Progress:
    """Return what was tried: routes and how they failed, ``timeout_sent`` as lost; None for an open claim."""
    progress = progress or Progress()
    for route, failure in attempts:
        claim = a_claim(progress, route, may_double_pay=progress.in_doubt)
        progress.start(claim)
        if failure is not None:
            lost = failure is FailureClass.TIMEOUT_SENT
            data = {
                "outcome": "lost" if lost else "failed",
                "failure_class": failure,
                "cost_usd": None if lost else "0",
            }
            progress.finish(claim.entry_id, data)
    return progress


def a_job(**changes: Any) -> dict[str, Any]:
    """Return a chat job as it lies in the vault."""
    return {
        "schema_version": 1,
        "tenant": "acme",
        "latency_class": "background",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
        **changes,
    }
