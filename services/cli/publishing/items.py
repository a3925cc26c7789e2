"""What becomes of a line: an item to publish, or a refusal that says why not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """One message to publish, with what its result can be told by."""

    line: int
    """From 1."""
    value: bytes
    tenant: str | None = None
    key: str | None = None
    """The job's idempotency key."""
    custom_id: str | None = None

    @property
    def kafka_key(self) -> bytes | None:
        """The key it is published under: a cancel must go to the same partition."""
        return None if self.key is None else self.key.encode()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that is not published. Neither ``field`` nor ``message`` holds a value from it.

    With a field, the message goes on where the field's name ends: ``is not supported``.
    """

    line: int
    code: str
    message: str
    field: str | None = None
    """A path within the line, ``body.n``."""
    custom_id: str | None = None

    @property
    def sentence(self) -> str:
        """What is wrong, without where."""
        return f"{self.field} {self.message}" if self.field else self.message

    def __str__(self) -> str:
        named = f" ({self.custom_id})" if self.custom_id else ""
        return f"line {self.line}{named}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a message stands in Kafka."""

    topic: str
    partition: int
    offset: int
