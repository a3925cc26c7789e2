"""Rotation of the master key: every key of the keyring is wrapped anew under the current one, while services run.

A pass goes through the keyring in pages, each its own transaction; passes follow until one finds nothing, because
services that were not restarted yet wrap under the old key meanwhile. A key is replaced only where it is still what was
read, so that an erased one stays erased. It may be stopped anywhere and started again: what is done does not come up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.runtime import queries
from services.runtime.errors import WaybillError
from services.runtime.master_keys import MasterKeyError, MasterKeys, WrappedKeyDamagedError
from services.runtime.postgres import Connection
from services.runtime.tenant_keys import purpose_of

PAGE: Final = 2_000
PASSES: Final = 20
_SQL: Final = queries.load("keyring")
_MIGRATE: Final = queries.load("migrate")


class StillWrappingError(WaybillError):
    """Services still wrap keys under an old master key."""

    hint = "Restart every service with the new key first in WAYBILL_MASTER_KEY_FILE; then run this again."


class MayNotRotateError(WaybillError):
    """This login may not re-wrap the keyring's keys."""

    hint = "Use a member of the role waybill_owner, as for `waybill migrate`."


@dataclass(frozen=True, slots=True)
class InUse:
    """How many keys one master key wraps."""

    master_key: str
    records: int
    tenants: int


@dataclass(slots=True)
class Rotation:
    """What a rotation has done so far."""

    records: int = 0
    tenants: int = 0
    damaged: set[UUID | str] = field(default_factory=set)
    """Keys that no longer open, under whichever master key: they are left as they are."""

    @property
    def rewrapped(self) -> int:
        """How many keys are under the current master key now that were not."""
        return self.records + self.tenants


async def in_use(pool: asyncpg.Pool[Any]) -> list[InUse]:
    """Return which master keys wrap keys of the keyring; raises :class:`MayNotRotateError`."""
    async with _as_owner(pool) as connection:
        return [InUse(*row) for row in await connection.fetch(_SQL["under_master_keys"])]


def removable(masters: MasterKeys, used: Sequence[InUse]) -> list[str]:
    """Return the names of master keys that wrap nothing any more."""
    still = {one.master_key for one in used}
    return [name for name in masters.names if name not in still and name != masters.current.name]


async def rotate(pool: asyncpg.Pool[Any], masters: MasterKeys, progress: Callable[[Rotation], None]) -> Rotation:
    """Re-wrap every key under the current master key; ``progress`` is told after each page.

    A key under a master key that is not among those set stays as it is. Raises :class:`StillWrappingError` and
    :class:`MayNotRotateError`; what was re-wrapped before stays so.
    """
    rotation = Rotation()
    for _ in range(PASSES):
        before = rotation.rewrapped
        rotation.records += await _pass(pool, masters, _RECORDS, rotation, progress)
        rotation.tenants += await _pass(pool, masters, _TENANTS, rotation, progress)
        if rotation.rewrapped == before:
            return rotation
    raise StillWrappingError


@dataclass(frozen=True, slots=True)
class _Table:
    """How one table of the keyring is gone through."""

    page: str
    rewrap: str
    purpose: Callable[[Any], bytes]


def _record_purpose(record_id: UUID) -> bytes:
    return record_id.bytes


_RECORDS: Final = _Table(_SQL["record_keys_to_rewrap"], _SQL["rewrap_record_keys"], _record_purpose)
_TENANTS: Final = _Table(_SQL["tenant_keys_to_rewrap"], _SQL["rewrap_tenant_keys"], purpose_of)


async def _pass(
    pool: asyncpg.Pool[Any],
    masters: MasterKeys,
    table: _Table,
    rotation: Rotation,
    progress: Callable[[Rotation], None],
) -> int:
    done = 0
    after: UUID | str | None = None
    while True:
        async with _as_owner(pool) as connection:
            await connection.execute(_SQL["lock_rotation"])
            rows = await connection.fetch(table.page, after, masters.current.name, PAGE)
            if not rows:
                return done
            opened = _opened(rows, masters, table, rotation)
            anew = [masters.wrap(table.purpose(key), secret) for key, (_, secret) in opened.items()]
            was = [wrapped for wrapped, _ in opened.values()]
            done += len(await connection.fetch(table.rewrap, list(opened), was, anew, masters.current.name))
        after = rows[-1]["id"]
        progress(rotation)


def _opened(
    rows: Sequence[asyncpg.Record], masters: MasterKeys, table: _Table, rotation: Rotation
) -> Mapping[Any, tuple[bytes, bytes]]:
    opened: dict[Any, tuple[bytes, bytes]] = {}
    for row in rows:
        key, wrapped = row["id"], row["wrapped"]
        try:
            opened[key] = wrapped, masters.unwrap(row["master_key"], table.purpose(key), wrapped)
        except WrappedKeyDamagedError:
            rotation.damaged.add(key)
        except MasterKeyError:
            continue  # what is left under which master key is told at the end
    return opened


@asynccontextmanager
async def _as_owner(pool: asyncpg.Pool[Any]) -> AsyncIterator[Connection]:
    """Give a connection in a transaction with the owner's rights; they end together."""
    try:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(_MIGRATE["act_as_owner"])
            yield connection
    except asyncpg.InsufficientPrivilegeError:
        raise MayNotRotateError from None
