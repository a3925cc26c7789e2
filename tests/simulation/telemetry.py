"""A service's telemetry as lines and counts of a trace: the product's own words for what happened to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.runtime.telemetry import Telemetry
from simulation.trace import Trace


class TracedTelemetry(Telemetry):
    """Has what services use of :class:`Telemetry`, without Prometheus and structlog."""

    def __init__(self, trace: Trace, service: str, process: str) -> None:
        self.service = service
        self.log = _Log(trace, process)
        self.events: Any = _Counters(trace, process)
        self.failures: Any = _Counters(trace, process)
        self.gauges: Any = _Nothing()
        self.messages: Any = _Nothing()
        self.batches: Any = _Nothing()


class _Log:
    def __init__(self, trace: Trace, process: str) -> None:
        self._trace = trace
        self._process = process
        self.debug = self.info = self.warning = self.error = self.critical = self._say

    def _say(self, event: str, **fields: Any) -> None:
        # Records by their short name; of everything else only what is an error's name.
        record = self._trace.known(fields.get("record_id"))
        said = [event, *([record] if record else []), *([str(fields["error"])] if "error" in fields else [])]
        self._trace.note(self._process, ": ".join(said))


class _Counters:
    """Counters by label; an increment is a line and a count."""

    def __init__(self, trace: Trace, process: str) -> None:
        self._trace = trace
        self._process = process

    def labels(self, label: str) -> _Counter:
        return _Counter(self._trace, self._process, label)


class _Counter:
    def __init__(self, trace: Trace, process: str, label: str) -> None:
        self._trace = trace
        self._process = process
        self._label = label

    def inc(self, amount: int = 1) -> None:
        if amount:
            self._trace.count(self._label, amount)
            self._trace.note(self._process, self._label)


class _Nothing:
    """A metric that nobody reads."""

    def labels(self, label: str) -> _Nothing:
        return self

    def inc(self, amount: float = 1) -> None:
        """Count nothing."""

    def set(self, value: float) -> None:
        """Set nothing."""

    def observe(self, value: float) -> None:
        """Observe nothing."""

    def set_function(self, function: Callable[[], float]) -> None:
        """Follow nothing."""
