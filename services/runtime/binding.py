"""Binding what a consumer reads to its tenant: ``services.tenancy``'s rule with a deployment's settings and secrets.

For the shared topics and the tenants' own alike, and for every kind of message: jobs, cancels, replays, feedback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from aiokafka import ConsumerRecord

from services.runtime.secrets import Secrets
from services.runtime.settings import Settings
from services.runtime.tenants import TenantRegistry
from services.tenancy import Bound, Refusal, bind


class Held(Protocol):
    """A message that was read and bound."""

    @property
    def record(self) -> ConsumerRecord[Any, Any]:
        """As Kafka has it."""

    @property
    def bound(self) -> Bound | Refusal:
        """Whose it is, or why it is nobody's."""


ItemT = TypeVar("ItemT", bound=Held)


class Binder:
    """Says whose a message is, by the tenants in force."""

    def __init__(self, settings: Settings, tenants: TenantRegistry) -> None:
        """Take the deployment's settings, and who knows its tenants."""
        self._settings = settings
        self._tenants = tenants
        self._secrets = Secrets(settings.secrets_dir)

    def bind(self, record: ConsumerRecord[Any, bytes], claimed: str | None) -> Bound | Refusal:
        """Return whose a record of Kafka is; ``claimed`` is the tenant that it names, if it names one.

        Before a refusal counts, ask :meth:`settled`.
        """
        return bind(
            self._settings.bare(record.topic),
            record.headers,
            record.value or b"",
            claimed,
            self._tenants.current,
            secret_of=self._secrets.get,
            allow_unsigned=self._settings.allow_unsigned,
        )

    async def settled(self, items: Sequence[ItemT], read: Callable[[ConsumerRecord[Any, Any]], ItemT]) -> list[ItemT]:
        """Return the items with what is refused read again by the tenants of now.

        A message may follow the tenants that make it valid by less time than news of them take.
        """
        if not any(isinstance(item.bound, Refusal) for item in items):
            return list(items)
        # Read again also where this look finds nothing new: news may have come since the messages were read.
        await self._tenants.caught_up()
        return [read(item.record) if isinstance(item.bound, Refusal) else item for item in items]
