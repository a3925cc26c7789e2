"""Identifiers: time-ordered record ids, and entry ids that follow from their cause."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final
from uuid import UUID

from services.runtime import surroundings

# Version 8 and the RFC 9562 variant; the standard library of Python 3.11 knows versions up to 5.
_UUID8_MASK: Final = ~(0xF << 76 | 0x3 << 62)
_UUID8_BITS: Final = 8 << 76 | 2 << 62


def new_record_id() -> UUID:
    """Return a fresh UUIDv7: ordered by the time of intake, so that the newest records share a partition."""
    return surroundings.uuid7()


def first_record_id(moment: datetime) -> UUID:
    """Return the smallest UUIDv7 of a moment: a bound for ranges of record ids by the time of intake."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def new_claim_id() -> UUID:
    """Return the random id of one try of a paid call: whoever stored it holds the claim."""
    return _random_id()


def new_worker_id() -> UUID:
    """Return the random id of one start of an executor process."""
    return _random_id()


def derive(record_id: UUID, kind: str, cause: str | int) -> UUID:
    """Return the entry id that follows from record, kind and cause, alike for every redelivery (a UUIDv8)."""
    digest = hashlib.sha256(record_id.bytes + f"{kind}:{cause}".encode()).digest()
    value = int.from_bytes(digest[:16], "big") & _UUID8_MASK | _UUID8_BITS
    return UUID(int=value)


def content_hash(content: bytes) -> str:
    """Return the name of a content-addressed thing: ``sha256:`` and the digest in hex."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def now() -> datetime:
    """Return the present moment in UTC; wiring passes it into the pure stages."""
    return surroundings.now()


def _random_id() -> UUID:
    return UUID(bytes=surroundings.random_bytes(16), version=4)
