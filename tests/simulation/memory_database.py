"""A database in memory that stands for Postgres behind asyncpg's pool, for stages that stay exactly as they are.

States of a connection: open, in a transaction (with savepoints), in a failed transaction, closed. What the database
decides: the same as Postgres, query by query (``memory_queries_*``), held to it by the contract that both pass
(``simulation.contract``). How it fails: as the world says. Before and after every round trip (a statement, BEGIN,
COMMIT, a savepoint) it asks the world's :class:`Traffic`, which may wait, never return, or raise. What it raises loses
the connection, and with it the transaction; a COMMIT whose ``after`` raises has taken effect, and its caller does not
know. :meth:`MemoryDatabase.disconnect` does the same to all connections of a process that died.

READ COMMITTED is approximated:

- One write lock for the whole database. A transaction takes it with its first statement that writes or locks rows,
  waiting in line, and holds it to its end; until then it reads what is committed, from then on its own copy. A writing
  statement by itself is a transaction of its own. Reads never wait.
- So ``FOR UPDATE SKIP LOCKED`` never has rows to skip: it waits for the other writer and sees what that one committed,
  as if the statement had come a little later. Writers of different rows wait for each other too; deadlocks (40P01) and
  races within one statement do not exist. Every history is one that Postgres could give, but not all are given: rows
  skipped because another has them locked have to be tested on Postgres.
- Who writes over a second connection while its own transaction writes waits for itself. On Postgres that is so only for
  the same rows; no stage does it. The keyring commits while intake's transaction is open: give it a database of its
  own, as ``KEYRING_DATABASE_URL`` does.
- ``now()`` is the moment of BEGIN. Moments are single: where the world's clock stands still, each is a microsecond
  later than the last, as no two transactions of a real server begin at once.
- The server's own timeouts belong to the world: :attr:`MemoryDatabase.holder` says who holds the lock, ``disconnect``
  ends it. Rights are not modelled: every process may do everything.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import simulation.memory_queries_erasure
import simulation.memory_queries_feedback
import simulation.memory_queries_record
import simulation.memory_queries_state  # noqa: F401 (they register their queries)
from simulation.memory_pool import MemoryPool, Traffic
from simulation.memory_session import Session, WriteLock
from simulation.memory_tables import Tables

__all__ = ["MemoryDatabase", "MemoryPool", "Traffic", "Undisturbed"]

TICK: Final = timedelta(microseconds=1)


class Undisturbed:
    """Traffic that neither waits nor fails."""

    async def before(self, process: str, what: str) -> None:
        """Let the request through."""

    async def after(self, process: str, what: str) -> None:
        """Let the answer through."""


class MemoryDatabase:
    """One database: the record's, the keyring's, or both. :attr:`tables` is what is committed, to be looked at only."""

    def __init__(self, clock: Callable[[], datetime], traffic: Traffic | None = None) -> None:
        """Take the server's clock, and what lies between it and the processes."""
        self.tables = Tables()
        self.write_lock: Final = WriteLock()
        self._clock = clock
        self._traffic = traffic or Undisturbed()
        self._last: datetime | None = None
        self._sessions: list[Session] = []

    def pool(self, process: str, *, size: int = 8) -> MemoryPool:
        """Return a pool of at most ``size`` connections for the process of this name, which is also its login."""

        def connect() -> Session:
            session = Session(self, process)
            self._sessions.append(session)
            return session

        return MemoryPool(connect, self._traffic, size)

    def disconnect(self, process: str) -> None:
        """End all connections of a process: what it has not committed is undone, and what it locked is free."""
        for session in [session for session in self._sessions if session.process == process]:
            session.close()

    @property
    def holder(self) -> str | None:
        """The process that holds the write lock."""
        holder = self.write_lock.holder
        return None if holder is None else holder.process

    def moment(self) -> datetime:
        """Return the time by the server's clock, later than any before."""
        now = self._clock()
        self._last = now if self._last is None else max(now, self._last + TICK)
        return self._last

    def forget(self, session: Session) -> None:
        """Drop a session that has ended."""
        self._sessions.remove(session)
