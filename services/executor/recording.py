"""Recording an answer: into the chain, or aside where its worker has lost the record. The one way there is.

    in hand ─▶ stored: the chain goes on from it
            └▶ fenced: aside

It may be recorded again, and by several at once: the ids of its entries follow from the claim, and who comes second
finds them stored. Until it is recorded the spool looks after it.
"""

from __future__ import annotations

from services.executor.in_hand import InHand
from services.executor.spool import Spool
from services.executor.store import Store
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.ledger import ChainHead
from services.runtime.telemetry import Telemetry


class Recording:
    """Records answers."""

    def __init__(self, store: Store, spool: Spool, telemetry: Telemetry) -> None:
        """Use the store, and this process's spool while it is away."""
        self._store = store
        self._spool = spool
        self._telemetry = telemetry

    async def record(self, answer: InHand) -> ChainHead | None:
        """Record an answer that only this process has; return the head to go on from, as :meth:`settle` does."""
        async with self._spool.keeping(answer, at_once=self._store.away):
            return await self.settle(answer)

    async def settle(self, answer: InHand) -> ChainHead | None:
        """Record an answer; return its head, or None where somebody else has carried the record on.

        An answer that is found stored is an ambiguous commit, or a recovery that died before it could say so.
        """
        request = answer.append_request()
        entries = request.chain.entries
        stored = await self._store.append(request)
        if stored is None:
            return entries[-1].head
        if stored and stored[0].entry_id == answer.entry_id:
            return stored[-1].head if len(stored) == len(entries) else None
        self._telemetry.events.labels("answer_put_aside").inc()
        if answer.learned:
            await self._store.put_aside(answer.aside(await self._store.read_key(answer.record_id)))
            reach(FaultPoint.EXECUTOR_ASIDE_STORED)
        return None
