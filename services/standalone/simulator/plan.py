"""Deciding how a call will go: its latency and its fault. A pure function of the call and of seeded chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.standalone.simulator.calls import Fault
from services.standalone.simulator.draw import Draw
from services.standalone.simulator.knobs import Knob
from services.standalone.simulator.script import Script
from services.standalone.simulator.settings import SimulatorSettings

SLOW_MODEL: Final = "sim-slow"
EMBEDDING_MODEL: Final = "sim-embed"
MODEL_FAULTS: Final[dict[str, Fault]] = {
    "sim-refuse": Fault("refuse"),
    "sim-fail": Fault("status", status=500),
    "sim-malformed": Fault("malformed"),
}
# The models that /v1/models lists. Any other name is served too, and behaves as sim-ok.
MODELS: Final = ("sim-ok", SLOW_MODEL, *MODEL_FAULTS, EMBEDDING_MODEL)

_SEEDED_FAULTS: Final = (
    Fault("status", status=500),
    Fault("status", status=503),
    Fault("status", status=429),
    Fault("malformed"),
    Fault("close"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a call will go: seconds until it is answered, and what goes wrong, if anything."""

    latency_s: float
    fault: Fault | None


def plan_call(model: str, script: Script, knob: Knob, settings: SimulatorSettings, draw: Draw, nth: int) -> Plan:
    """Decide the ``nth`` run (from 1) of a body. An outage overrules the script, the script the model, it the seed."""
    return Plan(
        latency_s=_latency_ms(model, script, knob, settings, draw) / 1000.0,
        fault=knob.fault or _scripted(script, nth) or MODEL_FAULTS.get(model) or _seeded(knob, settings, draw),
    )


def _latency_ms(model: str, script: Script, knob: Knob, settings: SimulatorSettings, draw: Draw) -> float:
    if script.latency_ms is not None:
        return script.latency_ms
    if knob.latency_ms is not None:
        low, high = knob.latency_ms
    elif model == SLOW_MODEL:
        return settings.slow_ms
    else:
        low, high = settings.latency_ms
    return low if low == high else low + draw.fraction("latency") * (high - low)


def _scripted(script: Script, nth: int) -> Fault | None:
    if script.fail_first is not None and nth > script.fail_first:
        return None
    return script.fault


def _seeded(knob: Knob, settings: SimulatorSettings, draw: Draw) -> Fault | None:
    rate = settings.fault_rate if knob.fault_rate is None else knob.fault_rate
    if not rate or draw.fraction("fault") >= rate:
        return None
    return _SEEDED_FAULTS[draw.integer("fault kind", 0, len(_SEEDED_FAULTS) - 1)]
