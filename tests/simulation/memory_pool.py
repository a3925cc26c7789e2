"""The process's side of the database: pool, connection and transaction, as far as stages use asyncpg's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Protocol, TypeVar

import asyncpg

from simulation import memory_facts
from simulation.memory_registry import find
from simulation.memory_session import Session
from simulation.memory_tables import Row

T = TypeVar("T")


class Traffic(Protocol):
    """What lies between a process and the database: the world's say in every round trip.

    ``what`` is a query's name (``intake.claim_keys``), ``COPY facts.request``, ``BEGIN``, ``COMMIT``, ``ROLLBACK``,
    ``SAVEPOINT``, ``RELEASE`` or ``ROLLBACK TO``. An exception loses the connection.
    """

    async def before(self, process: str, what: str) -> None:
        """Return when the request arrives; raise, and it never does."""

    async def after(self, process: str, what: str) -> None:
        """Return when the answer arrives; raise, and the effect has taken place without one."""


class MemoryConnection:
    """A connection. Whatever it asks is one round trip."""

    def __init__(self, session: Session, traffic: Traffic) -> None:
        """Take the server's side, and what lies between."""
        self.session = session
        self._traffic = traffic

    async def fetch(self, statement: str, *arguments: Any) -> list[Row]:
        """Run a named query and return its rows."""
        query = find(statement)
        return await self.round_trip(
            query.name, lambda: self.session.run(lambda scope: query.run(scope, arguments), locks=query.locks)
        )

    async def fetchrow(self, statement: str, *arguments: Any) -> Row | None:
        """Run a named query and return its first row."""
        rows = await self.fetch(statement, *arguments)
        return rows[0] if rows else None

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        """Run a named query and return the first value of its first row."""
        row = await self.fetchrow(statement, *arguments)
        return None if row is None else row[0]

    async def execute(self, statement: str, *arguments: Any) -> None:
        """Run a named query for its effect."""
        await self.fetch(statement, *arguments)

    async def copy_records_to_table(
        self, table_name: str, *, records: Iterable[Sequence[Any]], columns: Sequence[str], schema_name: str
    ) -> None:
        """Append rows to a table of facts."""
        assert schema_name == "facts", "only facts are copied"
        rows = list(records)
        await self.round_trip(
            f"COPY {schema_name}.{table_name}",
            lambda: self.session.run(
                lambda scope: memory_facts.copy(scope.tables, table_name, columns, rows), locks=True
            ),
        )

    def transaction(self) -> MemoryTransaction:
        """Return a transaction, or within one a savepoint."""
        return MemoryTransaction(self)

    def is_in_transaction(self) -> bool:
        """Say whether a transaction is open."""
        return self.session.in_transaction

    def is_closed(self) -> bool:
        """Say whether the connection was lost or given back."""
        return self.session.closed

    def terminate(self) -> None:
        """End the connection at once."""
        self.session.close()

    async def round_trip(self, what: str, effect: Callable[[], Awaitable[T]]) -> T:
        """Send something to the server and return its answer; the world may lose either on the way."""
        if self.session.closed:
            raise asyncpg.InterfaceError("connection is closed")
        await self._travel(self._traffic.before(self.session.process, what))
        try:
            answer = await effect()
        except Exception:
            await self._travel(self._traffic.after(self.session.process, what))
            raise
        await self._travel(self._traffic.after(self.session.process, what))
        return answer

    async def _travel(self, passing: Awaitable[None]) -> None:
        try:
            await passing
        except Exception:
            self.session.close()
            raise
        if self.session.closed:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


class MemoryTransaction:
    """A transaction, or a savepoint where one is open already."""

    def __init__(self, connection: MemoryConnection) -> None:
        """Take the connection; nothing begins before :meth:`start`."""
        self._connection = connection
        self._session = connection.session
        self._savepoint: int | None = None

    async def start(self) -> None:
        """Begin."""
        if self._session.in_transaction:
            self._savepoint = await self._say("SAVEPOINT", self._session.savepoint)
        else:
            await self._say("BEGIN", self._session.begin)

    async def commit(self) -> None:
        """Keep what was done since the start."""
        savepoint = self._savepoint
        if savepoint is None:
            await self._say("COMMIT", self._session.commit)
        else:
            await self._say("RELEASE", lambda: self._session.release(savepoint))

    async def rollback(self) -> None:
        """Undo what was done since the start."""
        savepoint = self._savepoint
        if savepoint is None:
            await self._say("ROLLBACK", self._session.rollback)
        else:
            await self._say("ROLLBACK TO", lambda: self._session.rollback_to(savepoint))

    async def __aenter__(self) -> None:
        await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is GeneratorExit:  # the process is gone, and with it whoever could await an answer
            self._connection.terminate()
        elif kind is None:
            await self.commit()
        else:
            await self.rollback()

    async def _say(self, what: str, effect: Callable[[], T]) -> T:
        async def done() -> T:
            return effect()

        return await self._connection.round_trip(what, done)


class MemoryPool:
    """A process's connections: at most ``size`` at once, who wants more waits in line."""

    def __init__(self, connect: Callable[[], Session], traffic: Traffic, size: int) -> None:
        """Take how to connect, and what lies between."""
        self._connect = connect
        self._traffic = traffic
        self._free = asyncio.Semaphore(size)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[MemoryConnection]:
        """Give a connection; at the end an open transaction is undone."""
        async with self._free:
            connection = MemoryConnection(self._connect(), self._traffic)
            try:
                yield connection
            finally:
                connection.terminate()

    async def fetch(self, statement: str, *arguments: Any) -> list[Row]:
        """Run a named query by itself and return its rows."""
        async with self.acquire() as connection:
            return await connection.fetch(statement, *arguments)

    async def fetchrow(self, statement: str, *arguments: Any) -> Row | None:
        """Run a named query by itself and return its first row."""
        async with self.acquire() as connection:
            return await connection.fetchrow(statement, *arguments)

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        """Run a named query by itself and return the first value of its first row."""
        async with self.acquire() as connection:
            return await connection.fetchval(statement, *arguments)

    async def execute(self, statement: str, *arguments: Any) -> None:
        """Run a named query by itself for its effect."""
        async with self.acquire() as connection:
            await connection.execute(statement, *arguments)
