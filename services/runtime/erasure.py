"""What is erased, as the stages see it: a record on this list has no content, whatever is still being deleted.

States of an erasure: asked for (on the list; content is neither stored nor given out), begun (in the log and aside),
done (key and ciphertext gone). Nobody leaves the list. ``services.recorder.erasures`` does the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from services.runtime import queries
from services.runtime.postgres import Connection
from services.runtime.tenant_keys import NOBODY, TenantKeys

_SQL = queries.load("erasure")
_SUBJECT: Final = "subject"


class Refusal(NamedTuple):
    """A subject that was erased: until when its jobs are refused."""

    erased_at: datetime
    refused_now: bool
    """Whether all are, whatever they say of their age: clients' clocks may lie."""

    def refuses(self, published_at: datetime) -> bool:
        """Whether a job that says it was published then is refused; later a new job is a new beginning."""
        return self.refused_now or published_at <= self.erased_at


def subject_hmac(keys: TenantKeys, tenant: str, subject: str) -> bytes:
    """Return what a subject is known by; any text a JSON document can hold, lone surrogates included.

    Under the key that every deployment has, not the tenant's: a subject is refused before its tenant has a key of its
    own, and what is no acceptable job is found by its subject too.
    """
    return keys.tenant_hmac(NOBODY, _SUBJECT, tenant.encode() + b"\0" + subject.encode("utf-8", "surrogatepass"))


async def erased(connection: Connection | asyncpg.Pool[Any], record_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these records are erased, or about to be."""
    if not record_ids:
        return set()
    return {row["record_id"] for row in await connection.fetch(_SQL["erased"], record_ids)}
