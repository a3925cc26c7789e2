"""What is to be recorded of a call: pure, from what the transport and the adapter made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import orjson

from schemas.codes import FailureClass
from schemas.entries import AttemptFinished, Check, Usage, Validated
from services.executor.adapter import Answer, Failure
from services.executor.routes import CallResult
from services.executor.transport import Broken
from services.executor.validate import passed, validate
from services.runtime.chain import Claim

_CHARGED_UNTOLD: Final = frozenset({FailureClass.MALFORMED_ANSWER, FailureClass.REFUSED, FailureClass.CONTENT_FILTERED})
"""Failures that a model ran for: without usage their cost is not known, and not nothing."""


@dataclass(slots=True)
class Finished:
    """What one call brought, ready to be recorded; ``output`` is OpenAI's response shape as JSON."""

    data: AttemptFinished
    validated: Validated | None = None
    output: bytes | None = None


def finished_of(
    call: CallResult,
    claim: Claim,
    job: Mapping[str, Any],
    *,
    cost: Callable[[Usage], Decimal],
    latency_ms: int,
    checked: Sequence[Check] = (),
    safety_actions: Sequence[str] = (),
) -> Finished:
    """Return what to record of a call; an answer is checked, and what it cost is worked out with ``cost``.

    ``checked`` are checks of the answer that were made already.
    """
    data = AttemptFinished(
        claim=str(claim.entry_id),
        attempt=claim.attempt,
        outcome="ok" if isinstance(call.outcome, Answer) else "failed",
        failure_class=None,
        http_status=call.status,
        usage=None,
        cost_usd=None,
        latency_ms=latency_ms,
        provider_request_id=call.request_id,
        response_model=None,
        finish_reason=None,
        retry_after_ms=None,
        output_digest=None,
        output_entry=None,
    )
    outcome = call.outcome
    if isinstance(outcome, Broken):
        data["failure_class"] = outcome.failure_class
        if outcome.in_doubt:
            data["outcome"] = "lost"
        elif outcome.failure_class is not FailureClass.MALFORMED_ANSWER:
            data["cost_usd"] = "0"
        return Finished(data)
    data["finish_reason"] = outcome.finish_reason
    data["response_model"] = outcome.response_model
    data["usage"] = outcome.usage
    if outcome.usage is not None:
        data["cost_usd"] = format(cost(outcome.usage), "f")
    if isinstance(outcome, Failure):
        data["failure_class"] = outcome.failure_class
        data["retry_after_ms"] = outcome.retry_after_ms
        if outcome.usage is None and outcome.failure_class not in _CHARGED_UNTOLD:
            data["cost_usd"] = "0"
        return Finished(data)
    checks = [*validate(job, outcome), *checked]
    validated = Validated(
        claim=str(claim.entry_id), checks=checks, passed=passed(checks), safety_actions=list(safety_actions)
    )
    return Finished(data, validated, orjson.dumps(outcome.output))
