"""Logins of tests: one for each group of Waybill, a member of it and of nothing else. They are the cluster's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from services.runtime.postgres import Connection
from support import sql

_SQL = sql.load("databases")
SERVICES: Final = ("classifier", "router", "executor", "recorder")
GROUPS: Final[Mapping[str, str]] = {
    **{service: f"waybill_{service}" for service in SERVICES},
    "oncall": "waybill_oncall",
    "analyst": "analyst",
    "owner": "waybill_owner",
}
"""A short name for each group."""
PASSWORD: Final = uuid4().hex


@asynccontextmanager
async def group_logins(url: str) -> AsyncIterator[dict[str, str]]:
    """Give a login for each of :data:`GROUPS`, by its short name; they are dropped after the block."""
    logins = {name: f"test_{uuid4().hex[:12]}_{name}" for name in GROUPS}
    async with connected(url) as connection:
        for name, login in logins.items():
            await connection.execute(_SQL["create_login"].format(name=login, password=PASSWORD))
            await connection.execute(_SQL["grant"].format(role=GROUPS[name], name=login))
    try:
        yield logins
    finally:
        async with connected(url) as connection:
            for login in logins.values():
                await connection.execute(_SQL["drop_login"].format(name=login))


@asynccontextmanager
async def new_login(url: str, *options: str) -> AsyncIterator[str]:
    """Give a login with these options, ``CREATEROLE`` for example, and drop it and what it owns after the block."""
    login = f"test_{uuid4().hex[:12]}"
    async with connected(url) as connection:
        await connection.execute(_SQL["create_login"].format(name=login, password=PASSWORD))
        for option in options:
            await connection.execute(_SQL["alter_login"].format(name=login, option=option))
    try:
        yield login
    finally:
        async with connected(url) as connection:
            await connection.execute(_SQL["drop_owned"].format(name=login))
            await connection.execute(_SQL["drop_login"].format(name=login))


def as_login(url: str, login: str) -> str:
    """Return a database's URL for a login of a test."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{login}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Give a connection, and close it."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
