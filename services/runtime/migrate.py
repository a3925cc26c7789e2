"""Migrations: the SQL files of ``schemas/sql/migrations`` in order of their number, each once and each a transaction.

States: a database is behind, current or ahead of this release. The database decides through an advisory lock that two
runs never overlap; a file whose text changed after it was applied is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import asyncpg

from services.runtime import queries
from services.runtime.errors import WaybillError
from services.runtime.postgres import Connection, NotMigratedError

PARTITION_MONTHS = 4
_SQL = queries.load("migrate")


class MigrationError(WaybillError):
    """A migration could not be applied; the database is unchanged by it."""

    hint = "Nothing was half done. Read the server's message, mend its cause and run `waybill migrate` again."


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


async def migrate(connection: Connection) -> list[Migration]:
    """Bring the database to this release and return what was applied; raises :class:`MigrationError`."""
    applied_now: list[Migration] = []
    async with connection.transaction():
        await connection.execute(_SQL["lock"])
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
    await connection.execute(_SQL["ensure_partitions"], datetime.now(UTC).date(), PARTITION_MONTHS)
    return applied_now


async def _apply(connection: Connection, migration: Migration) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(_SQL["lock"])
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
    missing = [migration for migration in migrations() if migration.version not in applied]
    if missing:
        raise NotMigratedError(f"the database lacks migration {missing[0].version:04}_{missing[0].name}")
