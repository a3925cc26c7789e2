"""What every provider's adapter does: pure translation between a job and a wire format. Adapters never retry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.codes import FailureClass
from schemas.decision import Orders, Route
from schemas.entries import Usage


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One HTTP request: path below the provider's base URL, and body."""

    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider answered. ``output`` is OpenAI's response shape, whichever vendor answered.

    Without ``usage`` the cost is not known, and counts in full.
    """

    output: dict[str, Any]
    text: str
    usage: Usage | None
    finish_reason: str
    response_model: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, named alike for all vendors. ``usage`` is there where the provider charged all the same."""

    failure_class: FailureClass
    usage: Usage | None = None
    retry_after_ms: int | None = None
    finish_reason: str | None = None
    response_model: str | None = None


class Adapter(Protocol):
    """One provider's wire format."""

    def request(self, job: Mapping[str, Any], orders: Orders, route: Route) -> WireRequest:
        """Return the request of a job on a route, within the decision's caps."""

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer | Failure:
        """Return what a complete HTTP response says; never raises for anything a provider may send."""

    def request_id(self, headers: Mapping[str, str]) -> str | None:
        """Return the provider's own id of the call."""
