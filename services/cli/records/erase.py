"""`waybill record erase`: have the content of records, or of a person, destroyed.

The command only asks; a recorder does it, for it alone may delete keys and content. The command waits for it, says what
was erased, and says until when copies can be read on the topics that clients see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

import asyncpg
import typer

from services.cli.environment import keyring_pool
from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.cli.records import select
from services.cli.records.edge_copies import Copies, copies
from services.recorder import erasure_log
from services.runtime import erasure, queries
from services.runtime.errors import WaybillError
from services.runtime.master_keys import MasterKeys
from services.runtime.postgres import open_pool
from services.runtime.settings import Settings
from services.runtime.tenant_keys import NOBODY, TenantKeys

_SQL = queries.load("cli_erasure")
LOOK_EVERY_S: Final = 0.25
AT_ONCE: Final = 1_000
MAX_LINES: Final = 100
FOR_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
MEANINGS: Final = {
    "erased": "erased",
    "erased_before": "was erased before",
    "under_way": "being erased",
    "would_be_erased": "would be erased",
    "unknown": "there is no such record",
}


class LogUnreadableError(WaybillError):
    """The erasure log cannot be read."""

    hint = "Name a copy of the file that WAYBILL_ERASURE_LOG names for the recorders."


class NothingTakenInError(WaybillError):
    """No job has come in yet: there is nothing to erase, and no key to know a subject by."""

    hint = "Start the classifier, let it take in a job of anybody's, and ask again."


@dataclass
class Found:
    """What an erasure came to."""

    records: dict[UUID, str] = field(default_factory=dict)
    """State by record, as in :data:`MEANINGS`."""
    subject_before: datetime | None = None
    """When the subject was erased before."""
    unreadable: int = 0
    """Lines of a log that could not be read."""
    subjects: int = 0
    complete: bool = True
    """Whether everything asked for was found and erased when the command stopped waiting."""

    def count(self, *states: str) -> int:
        """Return how many records are in one of these states."""
        return sum(state in states for state in self.records.values())


def erase(
    ids: Annotated[list[UUID] | None, typer.Argument(help="Ids of records.", metavar="ID...")] = None,
    key: select.Keys = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Whose subject.")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="The subject that jobs name, letter by letter.")
    ] = None,
    from_log: Annotated[
        Path | None, typer.Option("--from-log", help="Erase again what an erasure log names: after a restore.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why; it is kept: name a ticket, not a person.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which records would be erased.")] = False,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for a recorder to do it.")] = 120.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Erase the content of records: of those named, of a subject's, or of those in a log. It cannot be undone.

    What replays a record, or is replayed by it, holds the same content and is erased with it. The record stays, without
    content: who asked, what was decided and what it cost. A subject's jobs that are still unread are refused.
    The exit status is 1 if a record is unknown, or if not all was erased in time: it is then still under way.
    """
    named = bool(ids or key)
    if [named, subject is not None or tenant is not None, from_log is not None].count(True) != 1:
        raise typer.BadParameter("name records, or --tenant and --subject, or --from-log", param_hint="ID")
    if (subject is None) != (tenant is None):
        raise typer.BadParameter("--tenant and --subject go together", param_hint="--subject")
    if not reason and not dry_run and from_log is None:
        raise typer.BadParameter("say why", param_hint="--reason")
    settings = load_settings()
    found, left = asyncio.run(
        _erase(settings, ids or [], key or [], tenant, subject, from_log, reason or "", dry_run=dry_run, wait_s=wait)
    )
    now = datetime.now(UTC)
    emit(as_json(found, left, now, dry_run=dry_run), json=json, text="\n".join(told(found, left, now, dry_run=dry_run)))
    if not found.complete or found.unreadable or (named and found.count("unknown")):
        raise typer.Exit(1)


async def _erase(
    settings: Settings,
    ids: Sequence[UUID],
    keys: Sequence[str],
    tenant: str | None,
    subject: str | None,
    from_log: Path | None,
    reason: str,
    *,
    dry_run: bool,
    wait_s: float,
) -> tuple[Found, Copies]:
    left = await copies(settings)
    pool = await open_pool(settings.database_url, service="cli", size=1)
    try:
        asked = _Asked(pool, dry_run=dry_run)
        if from_log is not None:
            await asked.from_log(from_log)
        elif tenant is not None and subject is not None:
            hmac = await _hmac_of(settings, pool, tenant, subject)
            now = datetime.now(UTC)
            # The requests topic: what was published by now may be read until then.
            lifetime = left.lifetimes[settings.topic("requests")]
            await asked.subject(tenant, hmac, reason, now, FOR_EVER if lifetime is None else now + lifetime)
        else:
            await asked.records(await select.resolve(pool, settings, ids, keys), reason)
        return await asked.until_done(wait_s), left
    finally:
        await pool.close()


async def _hmac_of(settings: Settings, pool: asyncpg.Pool[Any], tenant: str, subject: str) -> bytes:
    async with keyring_pool(settings, pool) as keyring:
        keys = TenantKeys(keyring, MasterKeys.read(settings.master_key_file))
        if not await keys.find(NOBODY):
            raise NothingTakenInError
    return erasure.subject_hmac(keys, tenant, subject)


class _Asked:
    """One request: asks, or with ``dry_run`` looks, and waits for what it asked for."""

    def __init__(self, pool: asyncpg.Pool[Any], *, dry_run: bool) -> None:
        self._pool = pool
        self._dry_run = dry_run
        self._request = uuid4()
        self._found = Found()

    async def records(self, ids: Sequence[UUID], reason: str) -> None:
        for first in range(0, len(ids), AT_ONCE):
            some = ids[first : first + AT_ONCE]
            if self._dry_run:
                self._add(await self._pool.fetch(_SQL["preview"], some))
            else:
                self._add(await self._pool.fetch(_SQL["ask"], self._request, some, reason))

    async def subject(self, tenant: str, hmac: bytes, reason: str, erased_at: datetime, refuse_until: datetime) -> None:
        self._found.subjects += 1
        before = await self._pool.fetchrow(_SQL["subject_before"], tenant, hmac)
        self._found.subject_before = before["erased_at"] if before else None
        if self._dry_run:
            rows = await self._pool.fetch(_SQL["records_of_subject"], tenant, hmac)
            await self.records([row["record_id"] for row in rows], reason)
        else:
            arguments = (self._request, tenant, hmac, reason, erased_at, refuse_until)
            self._add(await self._pool.fetch(_SQL["ask_subject"], *arguments))

    async def from_log(self, path: Path) -> None:
        try:
            lines, self._found.unreadable = erasure_log.read(path)
        except OSError as error:
            raise LogUnreadableError(f"{path} cannot be read: {type(error).__name__}") from None
        for line in lines:
            if line.subject is not None:
                until = line.refuse_until or line.at
                await self.subject(line.tenant, bytes.fromhex(line.subject), line.reason, line.at, until)
            await self.records(line.records, line.reason)
        self._found.subject_before = None

    async def until_done(self, wait_s: float) -> Found:
        """Wait for a recorder; then return what became of it."""
        if self._dry_run:
            return self._found
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while True:
            done = await self._done()
            if done or loop.time() >= deadline:
                break
            await asyncio.sleep(LOOK_EVERY_S)
        await self._look()
        return self._found

    async def _done(self) -> bool:
        left = await self._pool.fetchval(_SQL["left"], self._request)
        if left:
            return False
        await self._look()
        return self._found.complete

    async def _look(self) -> None:
        """Learn how every record stands: those of this request, and those that others had asked for before."""
        everything_found = await self._pool.fetchval(_SQL["found"], self._request)
        waiting = [record_id for record_id, state in self._found.records.items() if state == "under_way"]
        for row in await self._pool.fetch(_SQL["progress"], self._request, waiting):
            if self._found.records.get(row["record_id"]) != "erased_before":
                self._found.records[row["record_id"]] = row["state"]
        self._found.complete = everything_found and not self._found.count("under_way")

    def _add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            self._found.records[row["record_id"]] = "under_way" if row["state"] == "asked" else row["state"]


def told(found: Found, left: Copies, now: datetime, *, dry_run: bool) -> list[str]:
    """Return what an erasure came to, in lines for people."""
    lines = [f"{record_id}  {MEANINGS[state]}" for record_id, state in list(found.records.items())[:MAX_LINES]]
    if len(found.records) > MAX_LINES:
        lines.append(f"… and {len(found.records) - MAX_LINES} more: --json names all")
    if found.subject_before is not None:
        lines.append(f"The subject was erased before, at {_minute(found.subject_before)}.")
    if dry_run:
        return [*lines, f"{found.count('would_be_erased')} records would be erased."]
    lines.append(
        f"{found.count('erased')} records erased, {found.count('erased_before')} were erased before, "
        f"{found.count('unknown')} are unknown."
    )
    if found.unreadable:
        lines.append(f"{found.unreadable} lines of the log cannot be read; what they name is not erased by them.")
    if not found.complete:
        lines.append(
            f"{found.count('under_way')} records are still to be erased: a recorder does it when it runs, can write "
            "its erasure log, and no older transaction is open. Nothing has to be asked again."
        )
    for topic, lifetime in left.lifetimes.items():
        until = "has no retention: copies stay" if lifetime is None else f"copies are gone by {_minute(now + lifetime)}"
        lines.append(f"{topic}: {until}")
    if not left.told_by_broker:
        lines.append("Kafka did not tell how long topics keep messages: this is what the settings say.")
    return lines


def as_json(found: Found, left: Copies, now: datetime, *, dry_run: bool) -> dict[str, Any]:
    """Return the same as one JSON object."""
    longest = left.longest()
    return {
        "dry_run": dry_run,
        "complete": found.complete,
        "records": [{"record_id": str(r), "state": state} for r, state in found.records.items()],
        "subjects": found.subjects,
        "subject_erased_before_at": found.subject_before,
        "unreadable_lines": found.unreadable,
        "copies_gone_by": {t: None if life is None else now + life for t, life in left.lifetimes.items()},
        "last_copy_gone_by": None if longest is None else now + longest,
        "told_by_broker": left.told_by_broker,
    }


def _minute(moment: datetime) -> str:
    return (moment + timedelta(seconds=59)).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
