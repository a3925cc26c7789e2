"""Tenant keys: what idempotency keys and payloads are hashed under, so that equal ones are recognised, never revealed.

One random key per tenant in the keyring, wrapped like a record's; no other key follows from it, and it follows from no
other. States of a tenant's key: made with its first job, and never changed: hashes outlive every change of the master
key. The database decides who made it. It fails as the keyring does, before anything of the slice is stored.

How many there are is up to the tenants, not to whoever may publish: a message that is rejected is hashed under the one
key of :data:`NOBODY`, whatever tenant it names, and a process keeps a bounded number of them at hand.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Set
from typing import Any, Final

import asyncpg

from services.runtime import queries
from services.runtime.master_keys import MasterKeys
from services.runtime.postgres import Connection
from services.runtime.surroundings import random_bytes

NOBODY: Final = ""
"""Whose key serves for messages that make no job. No tenant is called so."""
AT_HAND: Final = 10_000
"""How many keys a process keeps: far more than one slice can need."""
_KEY: Final = 32
_SQL: Final = queries.load("keyring")


class TenantKeyMissingError(LookupError):
    """A tenant's key was not asked for before it was used."""


class TenantKeys:
    """The keys of tenants, as one process has them at hand."""

    def __init__(self, pool: Connection | asyncpg.Pool[Any], masters: MasterKeys) -> None:
        """Use a pool of the keyring's database."""
        self._pool = pool
        self._masters = masters
        self._keys: dict[str, bytes] = {}

    async def ensure(self, tenants: Iterable[str]) -> None:
        """Have the keys of some tenants at hand, and make those that there are none of yet.

        One query where a key is not at hand, none where all are. Raises what the keyring's database does, and
        ``MasterKeyError`` or ``WrappedKeyDamagedError`` for a key that cannot be opened: another one in its place would
        run every job of that tenant again.
        """
        wanted = set(tenants)
        new = await self.load(wanted)
        if new:
            wrapped = [self._masters.wrap(purpose_of(tenant), random_bytes(_KEY)) for tenant in new]
            await self._pool.execute(_SQL["create_tenant_keys"], new, wrapped, self._masters.current.name)
            # Read again: another process may have made them first.
            await self.load(wanted)

    async def load(self, tenants: Set[str]) -> list[str]:
        """Have the keys that there are of some tenants at hand, and return the tenants that have none, in order."""
        missing = sorted(tenants - self._keys.keys())
        if not missing:
            return []
        self.take(await self._pool.fetch(_SQL["load_tenant_keys"], missing))
        if len(self._keys) > AT_HAND:
            for tenant in [known for known in self._keys if known not in tenants][: len(self._keys) - AT_HAND]:
                del self._keys[tenant]
        return [tenant for tenant in missing if tenant not in self._keys]

    async def find(self, tenant: str) -> bool:
        """Have one tenant's key at hand if there is one, with the rights of people; False where there is none."""
        rows = await self._pool.fetch(_SQL["tenant_key_for_people"], tenant)
        self.take(rows)
        return bool(rows)

    def take(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Have keys at hand, given as the keyring keeps them: tenant, wrapped, master_key."""
        for row in rows:
            tenant = row["tenant"]
            self._keys[tenant] = self._masters.unwrap(row["master_key"], purpose_of(tenant), row["wrapped"])

    def tenant_hmac(self, tenant: str, purpose: str, content: bytes) -> bytes:
        """Return HMAC-SHA256 of content under a tenant's key; raises :class:`TenantKeyMissingError`."""
        secret = self._keys.get(tenant)
        if secret is None:
            raise TenantKeyMissingError("a tenant's key is used before it was asked for")
        return hmac.digest(secret, purpose.encode() + b"\0" + content, "sha256")

    def key_hmac(self, tenant: str, idempotency_key: str) -> bytes:
        """Return what an idempotency key is known by; any text a JSON document can hold, lone surrogates included."""
        return self.tenant_hmac(tenant, "key", idempotency_key.encode("utf-8", "surrogatepass"))


def purpose_of(tenant: str) -> bytes:
    """Return what a tenant's wrapped key is bound to: longer than a record's 16 bytes, so that neither poses as one."""
    return b"waybill tenant key\0" + tenant.encode()
