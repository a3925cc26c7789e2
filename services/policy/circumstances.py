"""What a decision depends on beside the job and the files: gates and outages, the money left, and the record's id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Final, Literal, NamedTuple

from schemas.decision import Route
from services.policy.files import content_hash

NOTHING: Final = content_hash({})
"""The hash of an input that there is none of."""


class Closed(NamedTuple):
    """A provider, a route (``provider/model@region``) or ``all``, closed by a person's gate or by an outage."""

    what: str
    by: Literal["gate", "outage"]
    why: str = ""
    """In words, for the record; never a job's content."""


@dataclass(frozen=True)
class Health:
    """What cannot be called right now; in any order."""

    closed: tuple[Closed, ...] = ()

    @classmethod
    def of(cls, closed: Iterable[Closed]) -> Health:
        """Return the health in which all of `closed` is closed."""
        return cls(tuple(sorted(set(closed))))

    @cached_property
    def hash(self) -> str:
        """The content hash."""
        return content_hash([list(closed) for closed in sorted(set(self.closed))]) if self.closed else NOTHING

    @cached_property
    def _by_name(self) -> dict[str, Closed]:
        # Of a gate and an outage the gate is told: a person opens it, an outage ends by itself.
        return {closed.what: closed for closed in sorted(self.closed, key=lambda closed: closed.by, reverse=True)}

    def closes(self, route: Route) -> Closed | None:
        """Return what closes a route, if anything does: the widest is told."""
        for name in ("all", route.provider, route.name):
            if (found := self._by_name.get(name)) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class MoneyLeft:
    """What a tenant has left in a window, US dollars, and the window's name in words, such as ``November 2026``."""

    usd: Decimal
    window: str

    @property
    def hash(self) -> str:
        """The content hash."""
        return content_hash({"usd": format(self.usd.normalize(), "f"), "window": self.window})


HEALTHY: Final = Health()


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The inputs of one decision that change by themselves. Without a record, no share of an alias is drawn."""

    record: str | None = None
    health: Health = field(default=HEALTHY)
    money: MoneyLeft | None = None


ORDINARY: Final = Circumstances()
"""All is open, money is no matter, and which record it is neither."""
