"""Answers in hand for the tests of the spool, without a call that brought them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from executor_builders import ALPHA, NOW, a_claim
from support.usage import NO_USAGE

from schemas.entries import AttemptFinished, Validated
from services.executor.finished import Finished
from services.executor.in_hand import InHand, in_hand
from services.executor.spool import Spool
from services.runtime.chain import Claim, Progress, claim_of
from services.runtime.keyring import RecordKey
from services.runtime.ledger import ChainHead, Entry
from services.runtime.telemetry import Telemetry

PATIENCE_S: Final = 120.0
OUTPUT: Final = b'{"choices":[{"message":{"content":"Because of the fjord."}}]}'
SOME_RECORD: Final = UUID("01936b1e-0000-7000-8000-000000000002")


class CutOffError(Exception):
    """Recording an answer was cut off."""


def answer_of(claim: Claim, head: ChainHead, key: RecordKey, record_id: UUID, *, outcome: str = "ok") -> InHand:
    """Return what a call of this claim brought: an answer that passed, a failure, or nothing."""
    ok = outcome == "ok"
    data = AttemptFinished(
        claim=str(claim.entry_id),
        attempt=claim.attempt,
        outcome=outcome,  # type: ignore[typeddict-item]
        failure_class=None if ok else "overloaded" if outcome == "failed" else "timeout_sent",
        http_status=200 if ok else 503,
        usage={**NO_USAGE, "output_tokens": 7},
        cost_usd="0.0007",
        latency_ms=12,
        provider_request_id="r-1",
        response_model="small-1",
        finish_reason="stop" if ok else None,
        retry_after_ms=None,
        output_digest=None,
        output_entry=None,
    )
    validated = Validated(claim=str(claim.entry_id), checks=[], passed=True, safety_actions=[]) if ok else None
    finished = Finished(data, validated, OUTPUT if ok else None)
    return in_hand(finished, record_id=record_id, head=head, claim=claim, route=ALPHA, key=key, at=NOW)


def an_answer_in_hand(number: int = 0) -> InHand:
    """Return an answer of a record that no ledger has; each number's is another claim's."""
    claim = a_claim(Progress())
    claim.entry_id = UUID(int=number + 1, version=4)
    return answer_of(claim, ChainHead(3, "ab" * 32), RecordKey(SOME_RECORD, bytes(48)), SOME_RECORD)


def spool_of(folder: Path, *, telemetry: Telemetry | None = None, patience_s: float = PATIENCE_S) -> Spool:
    """Return the spool of a new worker."""
    return Spool(folder, uuid4(), telemetry or Telemetry("executor"), patience_s=patience_s)


async def cut_off(spool: Spool, *answers: InHand) -> None:
    """Let recording answers be cut off."""

    async def one(answer: InHand) -> None:
        try:
            async with spool.keeping(answer, at_once=False):
                raise CutOffError
        except CutOffError:
            return

    await asyncio.gather(*map(one, answers))


async def left_behind(folder: Path, *answers: InHand) -> Path:
    """Leave answers as a process does that has died, and return its file."""
    spool = spool_of(folder)
    await cut_off(spool, *answers)
    assert await spool.close() == len(answers)
    return spool.path


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other tasks and threads bring about."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


def claim_of_entry(entry: Entry) -> Claim:
    """Return the claim of an ``attempt_started`` entry."""
    return claim_of(entry, entry.content()["data"])
