"""Running a call: let it in or turn it away, run the simulated model, charge it, and wait as long as the plan says."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from services.standalone.simulator.answers import compose
from services.standalone.simulator.calls import OUTCOMES, Answer, Call, Fault, RateState
from services.standalone.simulator.draw import Draw
from services.standalone.simulator.knobs import Knobs
from services.standalone.simulator.ledger import Charge, Ledger
from services.standalone.simulator.plan import plan_call
from services.standalone.simulator.script import Script
from services.standalone.simulator.settings import SimulatorSettings


@dataclass(frozen=True, slots=True)
class Served:
    """How a call went. ``answer`` is None where an error status took its place; ``fault`` says how delivery fails."""

    answer: Answer | None
    fault: Fault | None
    rate: RateState | None


class Provider:
    """The simulated provider, without its HTTP. Used from one event loop."""

    def __init__(self, settings: SimulatorSettings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger
        self.knobs = Knobs()
        # How often each body ran, by the first 64 bits of its digest: about 100 bytes for each body ever seen.
        self._runs: dict[int, int] = {}

    async def serve(self, call: Call, script: Script, body: bytes, *, charge_id: str, attempt: str | None) -> Served:
        """Serve one call; on return its charge, if any, is durable.

        Raises :class:`InvalidCallError` for a schema that the model cannot satisfy, :class:`LedgerError` where the
        charge could not be made durable. Cancelling it (the client left) does not take the charge back.
        """
        granted, rate = self.knobs.admit(call.model, time.monotonic())
        if not granted and rate is not None:
            wait_s = max(1, math.ceil(rate.reset_s))
            return Served(None, Fault("status", status=429, retry_after=wait_s), rate)

        knob = self.knobs.of(call.model)
        digest = sha256(body)
        run = int.from_bytes(digest.digest()[:8])
        nth = self._runs.get(run, 0) + 1
        # What an outage turns away did not reach the model: it does not count, and changes nothing afterwards.
        if knob.fault is None or knob.fault.charged:
            self._runs[run] = nth
        draw = Draw(self.settings.seed, digest.digest(), nth)
        plan = plan_call(call.model, script, knob, self.settings, draw, nth)
        fault = plan.fault
        if fault is not None and not fault.charged:
            await asyncio.sleep(plan.latency_s)
            return Served(None, fault, rate)

        refuse = fault is not None and fault.kind == "refuse"
        if refuse and call.inputs:  # vectors have no words to refuse with
            fault = None
        answer = compose(call, script, draw, self.settings.seed, refuse=refuse)
        durable = self.ledger.append(
            Charge(
                charge_id=charge_id,
                at=datetime.now(UTC),
                model=call.model,
                digest=digest.hexdigest(),
                nth=nth,
                attempt=attempt,
                prompt_tokens=answer.prompt_tokens,
                completion_tokens=answer.completion_tokens,
                outcome="answered" if fault is None else OUTCOMES[fault.kind],
            )
        )
        if plan.latency_s:
            await asyncio.sleep(plan.latency_s)
        await durable
        return Served(answer, fault, rate)

    def reset(self) -> None:
        """Forget knobs and run counts; the ledger stays, for it is append-only."""
        self.knobs.clear()
        self._runs.clear()
