"""The server's side of a connection: its transaction, what that sees, and the lock that lets one writer in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol, TypeVar

import asyncpg

from simulation.memory_registry import Scope
from simulation.memory_tables import Tables

T = TypeVar("T")


class WriteLock:
    """Who may write. Whoever waits is served in the order of asking."""

    def __init__(self) -> None:
        self.holder: Session | None = None
        self._waiting: deque[tuple[Session, asyncio.Future[None]]] = deque()

    async def take(self, session: Session) -> None:
        """Wait for the lock; raises what :meth:`give_up` was told, if that comes first. Who is cancelled gives up."""
        if self.holder is None:
            self.holder = session
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((session, turn))
        await turn

    def give_up(self, session: Session, error: Exception | None = None) -> None:
        """Free the lock if the session holds it, else leave the line; ``error`` wakes who waits there."""
        for waiting, turn in [place for place in self._waiting if place[0] is session]:
            self._waiting.remove((waiting, turn))
            if error is not None and not turn.done():
                turn.set_exception(error)
        if self.holder is session:
            self.holder = None
            self._serve_next()

    def _serve_next(self) -> None:
        while self._waiting:
            session, turn = self._waiting.popleft()
            if not turn.done():  # a waiter that was cancelled has not left the line yet
                self.holder = session
                turn.set_result(None)
                return


class Server(Protocol):
    """What a session needs of its database."""

    tables: Tables

    @property
    def write_lock(self) -> WriteLock:
        """The lock of all its sessions."""

    def moment(self) -> datetime:
        """Return the time, later than any before."""

    def forget(self, session: Session) -> None:
        """Drop a session that has ended."""


class Session:
    """One connection as the server has it. ``own`` tables are there exactly while it holds the write lock."""

    def __init__(self, server: Server, process: str) -> None:
        """Connect a process."""
        self.process: Final = process
        self.closed = False
        self._server = server
        self._began: datetime | None = None
        self._failed = False
        self._own: Tables | None = None
        self._savepoints: list[Tables | None] = []

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN came and its end did not."""
        return self._began is not None

    async def run(self, work: Callable[[Scope], T], *, locks: bool) -> T:
        """Run one statement, in the open transaction or as one of its own."""
        self._require_sound()
        now = self._began or self._server.moment()
        try:
            if locks and self._own is None:
                await self._lock()
            answer = work(Scope(self._own or self._server.tables, now, self._server.moment, self.process))
        except BaseException:
            if self.in_transaction:
                self._failed = True
            else:
                self._end()
            raise
        if not self.in_transaction:
            self._publish()
        return answer

    def begin(self) -> None:
        """Open a transaction: ``now()`` stands still from here on."""
        self._began = self._server.moment()

    def commit(self) -> None:
        """Publish what the transaction wrote; one that has failed is undone instead, as Postgres does it."""
        if self._failed:
            self._end()
        else:
            self._publish()

    def rollback(self) -> None:
        """Undo the transaction."""
        self._end()

    def savepoint(self) -> int:
        """Remember how the tables are, and return how many savepoints there were before."""
        self._require_sound()
        self._savepoints.append(self._own and self._own.copy())
        return len(self._savepoints) - 1

    def release(self, savepoint: int) -> None:
        """Keep what came after a savepoint."""
        self._require_sound()
        del self._savepoints[savepoint:]

    def rollback_to(self, savepoint: int) -> None:
        """Undo what came after a savepoint, failures and later savepoints included; the lock stays."""
        saved = self._savepoints[savepoint]
        del self._savepoints[savepoint:]
        if self._own is not None:
            self._own = saved or self._server.tables.copy()
        self._failed = False

    def close(self) -> None:
        """End the connection: an open transaction is undone, and a statement that waits is told."""
        if not self.closed:
            self.closed = True
            self._end(asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"))
            self._server.forget(self)

    async def _lock(self) -> None:
        await self._server.write_lock.take(self)
        if self.closed:  # between its turn and now
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        self._own = self._server.tables.copy()

    def _publish(self) -> None:
        if self._own is not None:
            self._server.tables = self._own
        self._end()

    def _end(self, error: Exception | None = None) -> None:
        self._began, self._failed, self._own = None, False, None
        self._savepoints.clear()
        self._server.write_lock.give_up(self, error)

    def _require_sound(self) -> None:
        if self._failed:
            raise asyncpg.InFailedSQLTransactionError(
                "current transaction is aborted, commands ignored until end of transaction block"
            )
