"""Migrations: the SQL files of ``schemas/sql/migrations`` in order of their number, each once and each a transaction.

States: a database is behind, current or ahead of this release. The database decides through an advisory lock that two
runs never overlap; a file whose text changed after it was applied is refused.

Whoever migrates acts as the role ``waybill_owner``, so that nothing belongs to a login. Its login is a member of it; no
superuser is needed. ``roles.sql`` makes the roles, and is run on the way where that login may.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import asyncpg

from services.runtime import queries
from services.runtime.errors import WaybillError
from services.runtime.postgres import Connection, NotMigratedError, RoleNotGrantedError

PARTITION_MONTHS = 4
_SQL = queries.load("migrate")


class MigrationError(WaybillError):
    """A migration could not be applied; the database is unchanged by it."""

    hint = "Nothing was half done. Read the server's message, mend its cause and run `waybill migrate` again."


class RolesMissingError(WaybillError):
    """The roles of Waybill have not been made in this database, and this login may not make them."""

    hint = (
        "Have an administrator run schemas/sql/roles.sql in this database: `waybill migrate --roles` prints it. "
        "Then grant the role waybill_owner to the login that migrates."
    )


class NotOwnerError(WaybillError):
    """The login is not a member of the role waybill_owner, which everything belongs to."""

    hint = "Have an administrator run GRANT waybill_owner TO that login, or migrate with the login that has it."


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """SHA-256 of the file's text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Return all migrations of this release, oldest first."""
    files = resources.files("schemas.sql").joinpath("migrations").iterdir()
    found = [
        Migration(int(file.name[:4]), file.name[5:-4], file.read_text(encoding="utf-8"))
        for file in files
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.version)


def script(name: str) -> str:
    """Return the text of ``schemas/sql/{name}.sql``: ``roles`` or ``keyring``."""
    return resources.files("schemas.sql").joinpath(f"{name}.sql").read_text(encoding="utf-8")


async def migrate(connection: Connection) -> list[Migration]:
    """Bring the database to this release and return what was applied.

    Raises :class:`RolesMissingError`, :class:`NotOwnerError` or :class:`MigrationError`.
    """
    applied_now: list[Migration] = []
    await _prepare_roles(connection)
    async with _as_owner(connection):
        await connection.execute(_SQL["create_history"])
        applied = {row["version"]: row["digest"] for row in await connection.fetch(_SQL["history"])}
    for migration in migrations():
        known = applied.get(migration.version)
        if known == migration.digest:
            continue
        if known is not None:
            raise MigrationError(f"migration {migration.version:04} was changed after it had been applied")
        if await _apply(connection, migration):
            applied_now.append(migration)
    async with _as_owner(connection):
        await connection.execute(_SQL["ensure_partitions"], datetime.now(UTC).date(), PARTITION_MONTHS)
    return applied_now


async def migrate_keyring(connection: Connection) -> None:
    """Make the keyring in a database, which may be one of its own; raises what :func:`migrate` raises."""
    await _prepare_roles(connection)
    try:
        async with _as_owner(connection):
            await connection.execute(script("keyring"))
    except asyncpg.PostgresError as error:
        raise MigrationError(f"keyring: {error}") from error


async def _prepare_roles(connection: Connection) -> None:
    """See to it that the roles are there and that this login may act as the owner."""
    standing = await _standing(connection)
    if not standing["prepared"]:
        why = "another login owns this database"
        try:
            await connection.execute(script("roles"))
        except asyncpg.InsufficientPrivilegeError as error:
            why = str(error)
        standing = await _standing(connection)
        # A grant by somebody who may not make it is only a warning, so what counts is what is there now.
        if not standing["prepared"]:
            raise RolesMissingError(f"login {standing['login']} may not make the roles of Waybill: {why}")
    if not standing["may_act"]:
        try:
            await connection.execute(_SQL["join_owner"])
        except asyncpg.InsufficientPrivilegeError as error:
            raise NotOwnerError(f"login {standing['login']} is not a member of the role waybill_owner") from error


async def _standing(connection: Connection) -> asyncpg.Record:
    rows: list[asyncpg.Record] = await connection.fetch(_SQL["standing"])
    return rows[0]


@asynccontextmanager
async def _as_owner(connection: Connection) -> AsyncIterator[None]:
    """Hold a transaction, the lock of migrations, and the owner's rights; they end together."""
    async with connection.transaction():
        await connection.execute(_SQL["lock"])
        await connection.execute(_SQL["act_as_owner"])
        yield


async def _apply(connection: Connection, migration: Migration) -> bool:
    try:
        async with _as_owner(connection):
            await connection.execute(_SQL["timeouts"])
            if await connection.fetchval(_SQL["is_applied"], migration.version):
                return False
            await connection.execute(migration.sql)
            await connection.execute(_SQL["record"], migration.version, migration.name, migration.digest)
    except asyncpg.PostgresError as error:
        raise MigrationError(f"migration {migration.version:04}_{migration.name}: {error}") from error
    return True


async def require_current(connection: Connection | asyncpg.Pool[Any]) -> None:
    """Raise :class:`NotMigratedError` unless every migration of this release has been applied."""
    try:
        applied = {row["version"] for row in await connection.fetch(_SQL["history"])}
    except asyncpg.UndefinedTableError:
        raise NotMigratedError("the database is empty") from None
    except asyncpg.InsufficientPrivilegeError:
        raise RoleNotGrantedError from None
    missing = [migration for migration in migrations() if migration.version not in applied]
    if missing:
        raise NotMigratedError(f"the database lacks migration {missing[0].version:04}_{missing[0].name}")
