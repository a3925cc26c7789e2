"""Logs and metrics of a service. Neither ever holds content: errors are told by class and SQLSTATE, never by text.

A database's exception text may quote a row, a parser's may quote its input; both stop here.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import asyncpg
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from services.runtime.errors import WaybillError

_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


def describe(error: BaseException) -> str:
    """Return what may be said of an error: its class, its SQLSTATE, and the text only where it is ours."""
    if isinstance(error, WaybillError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, asyncpg.PostgresError):
        return f"{type(error).__name__} ({error.sqlstate})"
    return type(error).__name__


def configure_logging(service: str, *, fmt: str, level: str) -> None:
    """Send structured log lines to standard error, as JSON or for a console."""
    renderer: Any = structlog.processors.JSONRenderer() if fmt == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


class Telemetry:
    """The metrics and the logger of one service; ``docs/events.md`` lists them all."""

    def __init__(self, service: str) -> None:
        """Make a registry of its own, so that several services can live in one process."""
        self.service = service
        self.log = structlog.get_logger()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        prefix = f"waybill_{service}"
        self.messages = Counter(f"{prefix}_messages", "messages carried through", registry=self.registry)
        self.batches = Histogram(
            f"{prefix}_batch_seconds", "seconds from poll to acknowledged", registry=self.registry, buckets=_BUCKETS
        )
        self.failures = Counter(f"{prefix}_failures", "batches given back, by error", ["error"], registry=self.registry)
        self.events = Counter(
            f"{prefix}_events", "what happened to records, by event", ["event"], registry=self.registry
        )
        self.gauges = Gauge(f"{prefix}_state", "present state, by name", ["name"], registry=self.registry)

    def batch_done(self, records: int, seconds: float) -> None:
        """Count a batch that went through."""
        self.messages.inc(records)
        self.batches.observe(seconds)

    def batch_failed(self, error: BaseException) -> None:
        """Count and log a batch that is given back."""
        self.failures.labels(type(error).__name__).inc()
        self.log.warning("batch given back", error=describe(error))
