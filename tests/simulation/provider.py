"""A model provider in memory, behind the executor's transport, with its own ledger of what it charged.

It speaks OpenAI's wire format, so that adapters, prices and checks are the real ones. What becomes of a call is a
:class:`Fate`, which the world draws. The provider is no part of the process that calls it: a call that was sent is run,
charged and answered although its caller stands still or is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol, TypeAlias

import orjson

from schemas.codes import FailureClass
from services.executor.transport import Broken, Endpoint, HttpAnswer
from services.standalone.simulator.calls import Outcome
from services.standalone.simulator.ledger import Charge

Kind: TypeAlias = Literal["answer", "status", "refuse", "malformed", "lost", "lost_uncharged", "hang", "unsent"]
"""Charged with an answer; an error status; charged, then refused or unreadable; the connection lost after or before the
charge; charged and never answered; never sent."""

CHARGED: Final[dict[Kind, Outcome]] = {
    "answer": "answered",
    "refuse": "refused",
    "malformed": "malformed",
    "lost": "closed",
    "hang": "hang",
}
_TEXT: Final = "Simulated answer."
_TOKEN_CHARS: Final = 4


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one call, and after how many seconds its caller learns it."""

    kind: Kind = "answer"
    seconds: float = 0.05
    status: int = 503
    retry_after: int | None = None


class Caller(Protocol):
    """The process that calls, as the world sees it."""

    def calls(self, claim: str) -> None:
        """Be told of a call at the moment it is sent."""


class MemoryProvider:
    """All providers of the catalog. ``fate`` is asked once a call."""

    def __init__(self, clock: Callable[[], datetime], fate: Callable[[], Fate]) -> None:
        self.charges: list[Charge] = []
        self.in_flight = 0
        self._clock = clock
        self._fate = fate
        self._runs: Counter[str] = Counter()

    def serve(self, body: bytes, claim: str) -> asyncio.Future[HttpAnswer | Broken]:
        """Run one call; the future is what its caller will learn, if it learns anything."""
        fate = self._fate()
        answer: asyncio.Future[HttpAnswer | Broken] = asyncio.get_running_loop().create_future()
        outcome = CHARGED.get(fate.kind)
        if outcome is not None:
            self._charge(body, claim, outcome)
        if fate.kind != "hang":
            self.in_flight += 1
            loop = asyncio.get_running_loop()
            # In a context of its own: it goes on whatever becomes of its caller.
            loop.call_later(fate.seconds, self._answer, answer, fate, len(self.charges), context=Context())
        return answer

    def _charge(self, body: bytes, claim: str, outcome: Outcome) -> None:
        digest = hashlib.sha256(body).hexdigest()
        self._runs[digest] += 1
        self.charges.append(
            Charge(
                charge_id=f"charge-{len(self.charges) + 1}",
                at=self._clock(),
                model=orjson.loads(body)["model"],
                digest=digest,
                nth=self._runs[digest],
                attempt=claim,
                prompt_tokens=-(-len(body) // _TOKEN_CHARS),
                completion_tokens=-(-len(_TEXT) // _TOKEN_CHARS),
                outcome=outcome,
            )
        )

    def _answer(self, answer: asyncio.Future[HttpAnswer | Broken], fate: Fate, charges: int) -> None:
        self.in_flight -= 1
        if not answer.done():
            answer.set_result(self._told(fate, self.charges[charges - 1] if charges else None))

    def _told(self, fate: Fate, charge: Charge | None) -> HttpAnswer | Broken:
        match fate.kind:
            case "unsent":
                return Broken(FailureClass.UNAVAILABLE)
            case "lost" | "lost_uncharged":
                return Broken(FailureClass.TIMEOUT_SENT)
            case "status":
                headers = {} if fate.retry_after is None else {"retry-after": str(fate.retry_after)}
                return HttpAnswer(fate.status, headers, orjson.dumps({"error": {"message": "simulated"}}))
        assert charge is not None, "every other fate is charged"
        headers = {"x-request-id": charge.charge_id}
        if fate.kind == "malformed":
            return HttpAnswer(200, headers, b"<html>")
        message = {"role": "assistant", "content": _TEXT}
        if fate.kind == "refuse":
            message |= {"content": None, "refusal": _TEXT}  # type: ignore[dict-item]
        return HttpAnswer(
            200,
            headers,
            orjson.dumps(
                {
                    "id": charge.charge_id,
                    "object": "chat.completion",
                    "model": charge.model,
                    "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                    "usage": {"prompt_tokens": charge.prompt_tokens, "completion_tokens": charge.completion_tokens},
                }
            ),
        )


class MemoryTransport:
    """The executor's transport, to the provider in memory."""

    def __init__(self, provider: MemoryProvider, caller: Caller | None = None) -> None:
        self._provider = provider
        self._caller = caller

    async def post(
        self, endpoint: Endpoint, body: bytes, extra: tuple[bytes, bytes], timeout_s: float
    ) -> HttpAnswer | Broken:
        """Make one call, within the timeout."""
        claim = extra[1].decode()
        if self._caller is not None:
            self._caller.calls(claim)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._provider.serve(body, claim)
        except TimeoutError:
            return Broken(FailureClass.TIMEOUT_SENT)

    async def close(self) -> None:
        """There are no connections."""
