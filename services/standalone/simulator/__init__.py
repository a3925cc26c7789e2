"""The provider simulator: an HTTP server that answers as a model provider would, and keeps account of what it charged.

It stands in for a provider where there is no key, and it is the oracle of the chaos tests: what its ledger says was
charged is what Waybill must be able to explain. It never pretends to be anything else; every answer names it.

A call goes through these states::

    read ──▶ turned away (400, 401, rate limit, outage, scripted status)          nothing charged
      └────▶ run ──▶ charged (durable) ──▶ answered | refused | malformed | truncated | closed | hang

**Authority.** Only the ledger file says what was charged. A charge is durable before its answer's first byte is sent,
so an answer that a client holds always has its charge; a charge without an answer is a client that left, a scripted
loss, or a crash in between, just as with a real provider. Everything else (knobs, how often a body was called, rate
limits) is in memory and gone when the process ends.

**Determinism.** The answer, the latency and the seeded faults of a call follow from the seed, the SHA-256 digest of
the request body, and how many times that body was run before. Time and arrival order enter only through rate limits.

**How it fails.** A ledger that cannot be written stops the selling: calls get 500, ``/ready`` 503, and nothing is
answered that was not charged. A crash may tear the last line of the ledger; readers ignore it and the next start cuts
it off, for its call was never answered. A second process on the same ledger is refused.

Modules: ``calls`` is the vocabulary; ``openai_*`` is one vendor's format and nothing else; ``script``, ``knobs``,
``draw``, ``plan``, ``answers``, ``json_sample`` are the behaviour; ``provider`` runs a call; ``ledger`` charges it;
``server`` is HTTP.
"""

from __future__ import annotations

from services.standalone.simulator.ledger import Charge, LedgerError, read_ledger
from services.standalone.simulator.server import RunningSimulator, start_simulator
from services.standalone.simulator.settings import SimulatorSettings

__all__ = ["Charge", "LedgerError", "RunningSimulator", "SimulatorSettings", "read_ledger", "start_simulator"]
