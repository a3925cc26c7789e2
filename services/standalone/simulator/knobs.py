"""Behaviour that is changed while the simulator runs: outages, latency and rate limits, by model.

A model follows its own knob where one is set, else the knob of ``*``, else the defaults. Setting ``*`` leaves the
models' own knobs as they are. Knobs live in memory: a restart or ``/sim/reset`` returns everything to the defaults.
"""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.standalone.simulator.calls import Fault, RateState
from services.standalone.simulator.settings import MAX_LATENCY_MS

ANY_MODEL: Final = "*"

Milliseconds = Annotated[float, Field(ge=0, le=MAX_LATENCY_MS)]
StatusMode = Annotated[str, StringConstraints(pattern=r"^status:[45][0-9]{2}$")]


class Knob(BaseModel):
    """What ``POST /sim/control`` accepts; what it leaves out is the default again.

    ``mode`` other than ``ok`` is an outage: it overrules scripts and the model's own nature. ``fault_rate`` is a seeded
    share of failing calls. ``rate_limit_per_s`` allows bursts of one second's worth, at least one call.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(default=ANY_MODEL, min_length=1)
    mode: Literal["ok", "hang", "close", "malformed", "truncate", "refuse"] | StatusMode = "ok"
    latency_ms: tuple[Milliseconds, Milliseconds] | None = None
    rate_limit_per_s: float | None = Field(default=None, gt=0)
    fault_rate: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _latency_is_a_range(self) -> Knob:
        if self.latency_ms is not None and self.latency_ms[0] > self.latency_ms[1]:
            raise ValueError("latency_ms must be [low, high]")
        return self

    @property
    def fault(self) -> Fault | None:
        """The outage, or None while the mode is ``ok``."""
        match self.mode:
            case "ok":
                return None
            case "hang" | "close" | "malformed" | "truncate" | "refuse" as kind:
                return Fault(kind)
            case status:
                return Fault("status", status=int(status.removeprefix("status:")))


class TokenBucket:
    """A rate limit of ``per_second`` calls. Times are seconds of a monotonic clock, passed in."""

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._capacity = max(1.0, per_second)
        self._tokens = self._capacity
        self._at = now

    def take(self, now: float) -> tuple[bool, RateState]:
        """Take one call if there is one: whether it was granted, and the limit as it stands after."""
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        granted = self._tokens >= 1.0
        if granted:
            self._tokens -= 1.0
        wait_s = max(0.0, (1.0 - self._tokens) / self._per_second)
        return granted, RateState(limit=self._per_second, remaining=math.floor(self._tokens), reset_s=wait_s)


class Knobs:
    """All knobs that are set, with the rate limits that they carry; one limit of ``*`` is shared by all its models."""

    def __init__(self) -> None:
        self._knobs: dict[str, Knob] = {}
        self._buckets: dict[str, TokenBucket] = {}
        self._default = Knob()

    def set(self, knob: Knob, now: float) -> None:
        """Replace the knob of a model; its rate limit starts with a full second's worth."""
        self._knobs[knob.model] = knob
        self._buckets.pop(knob.model, None)
        if knob.rate_limit_per_s is not None:
            self._buckets[knob.model] = TokenBucket(knob.rate_limit_per_s, now)

    def of(self, model: str) -> Knob:
        """The knob that this model follows."""
        return self._knobs.get(model) or self._knobs.get(ANY_MODEL) or self._default

    def admit(self, model: str, now: float) -> tuple[bool, RateState | None]:
        """Whether the rate limit lets a call in, and how the limit stands; ``None`` where there is none."""
        if not self._buckets or (bucket := self._buckets.get(self.of(model).model)) is None:
            return True, None
        return bucket.take(now)

    def all(self) -> list[Knob]:
        """Every knob that is set, by model."""
        return [self._knobs[model] for model in sorted(self._knobs)]

    def clear(self) -> None:
        """Back to the defaults."""
        self._knobs.clear()
        self._buckets.clear()
