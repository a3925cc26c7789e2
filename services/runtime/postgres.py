"""Postgres: pools, and which of its errors pass by themselves and which name a culprit in the data.

How it fails: transient errors (connection lost, server restarting, deadlock, too many connections) are tried again by
whoever holds the work; errors of SQLSTATE class 22, 23 and 54 blame a row, and the slice that holds it is halved until
the row is alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

from services.runtime import queries
from services.runtime.errors import WaybillError

Connection: TypeAlias = "asyncpg.Connection[Any] | PoolConnectionProxy[Any]"
"""A connection of its own, or one borrowed from a pool."""

TRANSACTION_BOUND: Final = "60s"
"""How long a session may stay in one transaction; whoever needs longer opens a connection of its own."""
_HAS_TRANSACTION_TIMEOUT: Final = 17
_SQL = queries.load("postgres")
_BLAMES_A_ROW: Final = ("22", "23", "54")
_TRANSIENT_CLASSES: Final = ("08", "53", "57", "58", "40", "55")


class DatabaseUnreachableError(WaybillError):
    """Postgres does not answer."""

    hint = "Check DATABASE_URL and that the server runs; `waybill up` starts an embedded one."


class NotMigratedError(WaybillError):
    """The database has not been brought to this release."""

    hint = "Run `waybill migrate`."


class RoleNotGrantedError(WaybillError):
    """The login is a member of none of Waybill's groups."""

    hint = "Have an administrator grant it the group of its service, for example GRANT waybill_router TO that login."


def is_transient(error: BaseException) -> bool:
    """Say whether the same work may succeed later, unchanged."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_TRANSIENT_CLASSES)
    # InternalClientError is the driver's for a session whose end by the server it has not seen yet. An InterfaceError
    # that is a ValueError is its refusal of an argument.
    driver = asyncpg.InterfaceError | asyncpg.InternalClientError
    return isinstance(error, OSError | TimeoutError | driver) and not isinstance(error, ValueError)


def blames_a_row(error: BaseException) -> bool:
    """Say whether the database, or the driver before it, refused something in the data itself."""
    if isinstance(error, asyncpg.InterfaceError):
        return isinstance(error, ValueError)
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith(_BLAMES_A_ROW)


async def _bound_transactions(connection: Connection) -> None:
    """Have the server end a transaction that lasts too long, in whatever state its client left it.

    A client that is frozen between preparing a statement and running it is not idle to the server, and no statement of
    its runs: nothing else ends its transaction, and whoever waits for its locks waits until it thaws.
    """
    if connection.get_server_version().major >= _HAS_TRANSACTION_TIMEOUT:
        await connection.execute(_SQL["bound_transactions"], TRANSACTION_BOUND)


async def _nothing_to_reset(connection: Connection) -> None:
    """Leave a session as it is."""


async def open_pool(
    dsn: str, *, service: str, size: int = 8, session: Mapping[str, str] = MappingProxyType({})
) -> asyncpg.Pool[Any]:
    """Return a pool of at most ``size`` connections; raises :class:`DatabaseUnreachableError`.

    ``session`` holds further settings of Postgres for its sessions.

    Sessions that stay in a transaction are ended by the server after a minute: an open transaction anywhere holds back
    what may be proven, and a frozen worker's holds up the one that goes on in its place. PostgreSQL 16 sees the idle
    ones only.
    """
    try:
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            command_timeout=60,
            # Nothing here leaves state in a session, and resetting one is a round trip at every release.
            reset=_nothing_to_reset,
            init=_bound_transactions,
            server_settings={
                "application_name": f"waybill-{service}",
                "idle_in_transaction_session_timeout": TRANSACTION_BOUND,
                **session,
            },
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DatabaseUnreachableError(f"Postgres does not answer: {type(error).__name__}") from error
