"""Databases of their own for tests: empty, or a copy of one that was migrated once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from services.runtime.migrate import migrate, migrate_keyring
from support import sql

_SQL = sql.load("databases")


@asynccontextmanager
async def new_database(server_url: str, template: str | None = None) -> AsyncIterator[str]:
    """Give the URL of a fresh database, empty or a copy of ``template`` (a URL, unused meanwhile); drop it after."""
    name = f"test_{uuid4().hex}"
    if template is None:
        await _run(server_url, _SQL["create"].format(name=name))
    else:
        await _run(server_url, _SQL["copy"].format(name=name, template=urlsplit(template).path.lstrip("/")))
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        await _run(server_url, _SQL["drop"].format(name=name))


async def bring_up_to_date(url: str) -> None:
    """Migrate a database, keyring included."""
    connection = await asyncpg.connect(url)
    try:
        await migrate(connection)
        await migrate_keyring(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def new_keyring(server_url: str) -> AsyncIterator[str]:
    """Give the URL of a database in which there is a keyring and nothing else."""
    async with new_database(server_url) as url:
        connection = await asyncpg.connect(url)
        try:
            await migrate_keyring(connection)
        finally:
            await connection.close()
        yield url


async def _run(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
