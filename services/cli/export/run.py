"""One export: which months are due, and each month walked once, page by page, into all of its files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID

import asyncpg

from services.cli.export import manifest
from services.cli.export.errors import FolderBusyError
from services.cli.export.manifest import Manifest, Source
from services.cli.export.parquet import ParquetPart, digest_of_columns, schemas_of
from services.cli.months import moment_of, month_of, next_month
from services.runtime import queries
from services.runtime.ids import first_record_id

_SQL = queries.load("export")
_DOCS = queries.load("docs")
RELATIONS: Final = ("request", "attempt", "source", "feedback", "held", "decision_reason", "finding", "validation")
"""Tables, and views that have rows of their own for each record; the other views are sums of these."""
PAGE: Final = 5_000
"""Records read at once: what bounds the memory. A page is a row group, so another size makes other files."""
NO_TIMEOUT: Final = 3_600


@dataclass(frozen=True, slots=True)
class Month:
    """What became of one month: written, kept as it was, or left out because it is still open."""

    name: str
    what: Literal["written", "kept", "open"]
    manifest: Manifest | None = None


class Export:
    """Exports months of facts into a folder."""

    def __init__(self, pool: asyncpg.Pool[Any], folder: Path, clock: Callable[[], datetime]) -> None:
        """Take the database, the folder, and the clock that says which month has ended."""
        self._pool = pool
        self._folder = folder
        self._clock = clock

    async def run(self, *, since: datetime | None, include_open: bool, done: Callable[[Month], None]) -> None:
        """Export every month from that of ``since`` on; ``done`` gets each.

        Raises :class:`FolderBusyError` and ``UnexportableError``; the months before stay exported.
        """
        start = first_record_id(month_of(since)) if since else UUID(int=0)
        first = await self._pool.fetchval(_SQL["first_record"], start)
        last = await self._pool.fetchval(_SQL["last_record"])
        if first is None:
            return
        columns = await self._pool.fetch(_DOCS["columns"], ["facts"])
        schemas = schemas_of(columns, RELATIONS)
        self._folder.mkdir(parents=True, exist_ok=True)
        with _alone(self._folder):
            month = month_of(moment_of(first))
            while month <= moment_of(last):
                done(await self._month(month, schemas, include_open=include_open))
                month = next_month(month)

    async def _month(self, month: datetime, schemas: dict[str, Any], *, include_open: bool) -> Month:
        name, end = f"{month:%Y-%m}", next_month(month)
        bounds = first_record_id(month), first_record_id(end)
        closed = end <= self._clock() and not await self._pool.fetchval(_SQL["in_flight"], *bounds)
        if not closed and not include_open:
            return Month(name, "open")
        rows = await self._pool.fetch(_SQL["fingerprint"], month, end, timeout=NO_TIMEOUT)
        source = {row["name"]: Source(rows=row["rows"], hash=row["hash"]) for row in rows}
        columns = digest_of_columns(schemas)
        path = self._folder / f"{name}.json"
        known = manifest.read(path)
        if known and known.says_the_same(columns, source, closed=closed) and known.is_complete(self._folder):
            return Month(name, "kept", known)
        with ExitStack() as stack:
            parts = [stack.enter_context(ParquetPart(self._folder, r, name, schemas[r])) for r in RELATIONS]
            await self._write(month, end, parts)
            files = [part.finish() for part in parts]
        (about,) = await self._pool.fetch(_SQL["about"])
        made = Manifest(
            month=name,
            start=month,
            end=end,
            closed=closed,
            schema_version=about["schema_version"],
            columns=columns,
            source=source,
            files=files,
            exported_at=self._clock(),
            exported_by=about["login"],
        )
        _replace(path, made.model_dump_json(indent=2) + "\n")
        return Month(name, "written", made)

    async def _write(self, month: datetime, end: datetime, parts: list[ParquetPart]) -> None:
        """Walk a month. Each page is a transaction: one that stayed open would keep the record from being proven."""
        after = UUID(int=0)
        while True:
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                ids = [row["record_id"] for row in await connection.fetch(_SQL["ids"], month, end, after, PAGE)]
                if not ids:
                    return
                for part in parts:
                    part.write(await connection.fetch(_SQL[part.relation], ids, month, end))
            after = ids[-1]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other exports out of a folder; the lock goes with the process."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderBusyError(f"another export writes into {folder}") from None
        yield


def _replace(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
