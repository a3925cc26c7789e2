"""Erasing: what people and retention put on the list is destroyed, in steps that a crash may end anywhere.

    asked ─▶ in the log ─▶ begun (aside, one transaction) ─▶ key gone ─▶ content gone, done (one transaction)
      └ nobody who might still store content is under way (its horizon has passed)

Authority: the row in ``record.erasure`` and its times. Every step may be done again, by any recorder and by several at
once: the log then has a line twice, which erases nothing twice. Only the recorder may delete keys and content; people
only ask. The record itself learns of it from what lies aside, after its seal: its owner ends it, not we.
How it fails: an erasure log that cannot be written stops all of it, as an error in the log and counted as
``erasure_log_failed``; so does a transaction that stays open anywhere, until it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from schemas.codes import EntryKind
from schemas.entries import Erased
from services.recorder.erasure_log import ErasureLog, Line
from services.runtime import queries
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.host import Host
from services.runtime.ids import derive
from services.runtime.telemetry import describe

AT_ONCE: Final = 500
_SQL = queries.load("erasure")


class _LogError(Exception):
    """The log cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


class Erasures:
    """Carries out what is on the list."""

    def __init__(self, host: Host, clock: Callable[[], datetime]) -> None:
        """Take the host's parts and the clock that the log's lines carry."""
        self._host = host
        self._clock = clock
        self._log = ErasureLog(host.settings.erasure_log)

    async def run(self) -> int:
        """Erase everything that can be erased now, and return how many records that were."""
        erased = 0
        while (waiting := await self._host.pool.fetchval(_SQL["waiting"])) is not None:
            self._host.telemetry.gauges.labels("erasure_waiting_s").set(waiting)
            try:
                some = await self.run_once()
            except _LogError as failed:
                self._log_failed(failed.error)
                break
            erased += some
            if not some:
                break  # what is left waits for others' transactions
        else:
            self._host.telemetry.gauges.labels("erasure_waiting_s").set(0)
        return erased

    async def run_once(self) -> int:
        """Look for the records of subjects, and erase at most :data:`AT_ONCE` records; return how many."""
        await self._host.pool.execute(_SQL["set_subject_horizons"])
        for subject in await self._host.pool.fetch(_SQL["subjects_due"], AT_ONCE):
            await self._find(subject)
        await self._host.pool.execute(_SQL["set_horizons"])
        due = await self._host.pool.fetch(_SQL["due"], AT_ONCE)
        if due:
            await self._begin([row for row in due if not row["begun"]])
            await self._destroy([row["record_id"] for row in due])
        return len(due)

    async def _find(self, subject: asyncpg.Record) -> None:
        """Put the records of a subject on the list; the subject itself is in the log before."""
        line = Line(
            at=subject["erased_at"],
            tenant=subject["tenant"],
            actor=subject["actor"],
            reason=subject["reason"],
            cause="subject",
            subject=subject["subject_hmac"].hex(),
            refuse_until=subject["refuse_until"],
        )
        await self._enter([line])
        key = subject["tenant"], subject["subject_hmac"], subject["request"]
        async with self._host.pool.acquire() as connection, connection.transaction():
            await connection.fetch(_SQL["find_records"], *key, subject["reason"], subject["actor"])
            await connection.execute(_SQL["found_records"], *key)

    async def _begin(self, rows: Sequence[asyncpg.Record]) -> None:
        """Enter erasures in the log, then in what their records will say; find what was taken in as their replay."""
        if not rows:
            return
        await self._enter(lines_of(rows, self._clock()))
        reach(FaultPoint.RECORDER_ERASURE_LOGGED)
        async with self._host.pool.acquire() as connection, connection.transaction():
            begun = {
                row["record_id"]
                for row in await connection.fetch(_SQL["begin"], sorted(row["record_id"] for row in rows))
            }
            mine = [row for row in rows if row["record_id"] in begun]
            for request, group in _groups(row for row in mine if row["cause"] != "retention"):
                ids = [row["record_id"] for row in group]
                await connection.fetch(_SQL["find_replays"], request, ids, group[0]["reason"], group[0]["actor"])
            await connection.execute(
                _SQL["put_aside"],
                [row["record_id"] for row in mine],
                [derive(row["record_id"], EntryKind.ERASED, 0) for row in mine],
                [orjson.dumps(erased_data(row)).decode() for row in mine],
            )
        reach(FaultPoint.RECORDER_ERASURE_BEGUN)

    async def _destroy(self, record_ids: Sequence[UUID]) -> None:
        await self._host.keyring.delete(record_ids)
        reach(FaultPoint.RECORDER_ERASURE_KEYS_DELETED)
        async with self._host.pool.acquire() as connection, connection.transaction():
            await connection.execute(_SQL["delete_content"], record_ids)
            await connection.execute(_SQL["forget_subjects"], record_ids)
            await connection.execute(_SQL["finish"], record_ids)
        self._host.telemetry.events.labels("erased").inc(len(record_ids))

    async def _enter(self, lines: Sequence[Line]) -> None:
        try:
            await asyncio.to_thread(self._log.append, lines)
        except OSError as error:
            raise _LogError(error) from error

    def _log_failed(self, error: OSError) -> None:
        self._host.telemetry.events.labels("erasure_log_failed").inc()
        self._host.telemetry.log.error(
            "nothing is erased while the erasure log cannot be written",
            file=str(self._host.settings.erasure_log),
            error=describe(error),
            errno=error.errno,
        )


def erased_data(row: asyncpg.Record) -> Erased:
    """Return what a record says of its erasure; the reason is people's free text, and stays out of it."""
    return Erased(cause=row["cause"], actor=row["actor"], asked_at=row["asked_at"].isoformat())


def lines_of(rows: Sequence[asyncpg.Record], at: datetime) -> list[Line]:
    """Return the log's lines of some records: one for all that were asked for together, for one cause."""
    by = ("request", "tenant", "cause", "reason", "actor")
    ordered = sorted(rows, key=lambda row: tuple(str(row[name]) for name in by))
    return [
        Line(at=at, tenant=tenant, cause=cause, reason=reason, actor=actor, records=[row["record_id"] for row in group])
        for (_, tenant, cause, reason, actor), group in groupby(ordered, key=lambda row: tuple(row[n] for n in by))
    ]


def _groups(rows: Iterable[asyncpg.Record]) -> list[tuple[UUID, list[asyncpg.Record]]]:
    ordered = sorted(rows, key=lambda row: str(row["request"]))
    return [(request, list(group)) for request, group in groupby(ordered, key=lambda row: row["request"])]
