"""Notaries for tests: a key, a folder, a database with records of all kinds, and one connection in a pool's place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.messages import Head
from services.cli.verification.walk import Findings, Walk
from services.proof.checkpoint import Checkpoint
from services.proof.folder import CheckpointFolder
from services.proof.note import SigningKey
from services.proof.pack import Log
from services.recorder.notary import Notary
from services.runtime import ledger
from services.runtime.ids import new_record_id, now
from services.runtime.ledger import ChainWriter
from services.runtime.postgres import Connection
from support import sql

KEY: Final = SigningKey("waybill/test", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
STAGES: Final = (("received", "classified"), ("decided",), ("attempt_started",), ("attempt_finished", "validated"))
ENDS: Final = (("sealed",), ("sealed", "late_result"), ())
BOUND_S: Final = 120
_SQL: Final = sql.load("notary")


class OnePool:
    """What a pool's users need, on a connection that is in a transaction: one statement at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self._lock:
            return await self._connection.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> asyncpg.Record | None:
        async with self._lock:
            return await self._connection.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        async with self._lock:
            return await self._connection.fetchval(query, *arguments)


def folder(path: Path) -> CheckpointFolder:
    """Return a folder of checkpoints of the tests' key."""
    return CheckpointFolder(path / "checkpoints", KEY.public)


def notary(pool: asyncpg.Pool[Any], path: Path) -> Notary:
    """Return a notary that publishes below a path."""
    return Notary(pool, KEY, folder(path), now)


async def record(pool: asyncpg.Pool[Any], count: int = 1, *, end: Sequence[str] = ("sealed",)) -> None:
    """Append records stage by stage, each stage in a transaction of its own, as the services do.

    Between them other transactions take numbers.
    """
    heads: dict[Any, Head | None] = {new_record_id(): None for _ in range(count)}
    for stage in (*STAGES, end):
        if not stage:
            continue
        chains = []
        for place, (record_id, head) in enumerate(heads.items()):
            # A whole second is written without a fraction.
            at = now().replace(microsecond=0) if place % 7 == 0 else now()
            writer = ChainWriter(record_id, head)
            for kind in stage:
                writer.add(kind, {"text": 'ä€𝄞\u2028\\"  é', "stage": stage}, at)
            chains.append(ledger.writes(writer, head, at))
            last = writer.entries[-1].head
            heads[record_id] = Head(seq=last.seq, hash=last.hash)
        async with pool.acquire() as connection:
            assert not await ledger.append(connection, chains)
            await connection.execute(_SQL["take_number"])


async def signed(signer: Notary, size: int) -> Checkpoint:
    """Have so many entries signed and return the checkpoint.

    Any transaction of the cluster can hold entries back for a moment, one of autovacuum too.
    """
    async with asyncio.timeout(BOUND_S):
        while (newest := await signer.run_once()).size < size:  # noqa: ASYNC110 - it is told of by nobody
            await asyncio.sleep(0.05)
    assert newest.size == size
    return newest


async def verified(pool: Any, published: CheckpointFolder) -> Findings:
    """Return what a verification from the beginning finds."""
    return await Walk(pool, published.history(), Log.empty()).run()
