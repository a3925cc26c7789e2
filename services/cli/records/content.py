"""Reading a record's content, for a reason: asked for, noted in the access log, handed out, opened, compared.

The database hands out ciphertext and the wrapped key, and only after the note has been committed; the command opens
them with the master key. What it shows is compared with the digests in the entries: what was changed shows as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from schemas.codes import EntryKind
from services.cli.environment import keyring_pool
from services.proof.proof_file import Access
from services.runtime import queries, vault
from services.runtime.errors import WaybillError
from services.runtime.keyring import ContentDamagedError, PostgresKeyring, RecordKey
from services.runtime.ledger import Entry
from services.runtime.master_keys import MasterKeys
from services.runtime.settings import Settings

_SQL: Final = queries.load("cli_content")


class NoReasonError(WaybillError):
    """Content is read for a reason only."""

    hint = "Say why with --reason; it stays in the access log, with your login and the time."


class MayNotReadError(WaybillError):
    """This login may not read content."""

    hint = "Members of the role waybill_oncall may, in the record's database and in the keyring's."


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of content as read; ``content`` is None where it cannot be opened."""

    kind: str
    entry_id: UUID
    seq: int | None
    content: bytes | None
    matches: bool | None
    """Whether it is what its entry's digest covers; None where none does, as of an answer that came late."""

    @property
    def verdict(self) -> str:
        """What the comparison says, in words."""
        if self.content is None:
            return "DAMAGED: it does not decrypt"
        if self.matches is None:
            return "its entry has no digest"
        return "as its entry says" if self.matches else "CHANGED: its entry has another digest"

    def text(self) -> str:
        """Return the content for a terminal: JSON laid out, and nothing that a terminal would act upon."""
        content = self.content or b""
        try:
            plain = orjson.dumps(orjson.loads(content), option=orjson.OPT_INDENT_2).decode()
        except orjson.JSONDecodeError:
            plain = content.decode("utf-8", "backslashreplace")
        return printable(plain)

    def as_json(self) -> dict[str, Any]:
        """Return it as an object: JSON stays JSON, anything else is a string."""
        content: Any = None
        if self.content is not None:
            try:
                content = orjson.loads(self.content)
            except orjson.JSONDecodeError:
                content = self.content.decode("utf-8", "backslashreplace")
        return {
            "kind": self.kind,
            "entry_id": str(self.entry_id),
            "seq": self.seq,
            "matches_digest": self.matches,
            "content": content,
        }


async def read(
    pool: asyncpg.Pool[Any],
    settings: Settings,
    chains: Sequence[Sequence[Entry]],
    reason: str,
    kind: str | None = None,
) -> dict[UUID, list[Piece]]:
    """Return content of some records, of one kind or all of it, each note committed before.

    A record without any has been erased, or never had any of that kind.

    Raises :class:`NoReasonError`, :class:`MayNotReadError`, or ``MasterKeyError``.
    """
    if not reason.strip():
        raise NoReasonError
    masters = MasterKeys.of(settings)
    try:
        async with keyring_pool(settings, pool) as keys:
            keyring = PostgresKeyring(keys, masters)
            return {chain[0].record_id: await _read(pool, keyring, chain, reason.strip(), kind) for chain in chains}
    except asyncpg.InvalidParameterValueError:
        raise NoReasonError from None
    except asyncpg.CheckViolationError:
        raise NoReasonError("the reason is longer than 1,000 characters") from None
    except asyncpg.InsufficientPrivilegeError:
        raise MayNotReadError from None


async def _read(
    pool: asyncpg.Pool[Any], keyring: PostgresKeyring, chain: Sequence[Entry], reason: str, kind: str | None
) -> list[Piece]:
    record_id = chain[0].record_id
    key = await keyring.find(record_id)
    if key is None:
        return []
    access = await pool.fetchval(_SQL["ask"], record_id, reason, kind)
    if access is None:
        return []
    covered = digests_of(chain)
    rows = await pool.fetch(_SQL["hand_out"], record_id, access)
    pieces = [_opened(vault.Content(*row), key, covered) for row in rows]
    return sorted(pieces, key=lambda piece: (piece.seq is None, piece.seq, piece.kind))


def digests_of(chain: Sequence[Entry]) -> Mapping[tuple[UUID, str], tuple[int, str | None]]:
    """Return the entries that cover content: position and digest by the id and kind that the vault keeps it under."""
    return {place: found for entry in chain for place, found in _covered(entry)}


def _covered(entry: Entry) -> Iterator[tuple[tuple[UUID, str], tuple[int, str | None]]]:
    data = entry.content()["data"]
    match entry.kind:
        case EntryKind.RECEIVED:
            yield (entry.entry_id, vault.JOB), (entry.seq, data["digests"]["job"])
        case EntryKind.CLASSIFIED if "redaction" in data:
            yield (entry.entry_id, vault.REDACTED), (entry.seq, data["redaction"]["digest"])
        case EntryKind.ATTEMPT_STARTED:
            yield (entry.entry_id, vault.REQUEST), (entry.seq, data["request_digest"])
        case EntryKind.ATTEMPT_FINISHED if data["output_entry"]:
            yield (UUID(data["output_entry"]), vault.OUTPUT), (entry.seq, data["output_digest"])
        case EntryKind.LATE_RESULT:
            yield (entry.entry_id, vault.OUTPUT), (entry.seq, None)


def _opened(stored: vault.Content, key: RecordKey, covered: Mapping[tuple[UUID, str], tuple[int, str | None]]) -> Piece:
    seq, digest = covered.get((stored.entry_id, stored.kind), (None, None))
    try:
        content = key.decrypt(stored.entry_id, stored.kind, stored.ciphertext)
    except ContentDamagedError:
        return Piece(stored.kind, stored.entry_id, seq, None, None)
    matches = None if digest is None else key.digest(content) == digest
    return Piece(stored.kind, stored.entry_id, seq, content, matches)


def printable(text: str) -> str:
    """Return a text with nothing in it that a terminal would act upon."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


async def access_logs_of(pool: asyncpg.Pool[Any], record_ids: Sequence[UUID]) -> dict[UUID, list[Access]]:
    """Return who read content of some records, oldest first."""
    logs: dict[UUID, list[Access]] = {record_id: [] for record_id in record_ids}
    for row in await pool.fetch(_SQL["access_log"], record_ids):
        at = row["asked_at"].isoformat()
        access = Access(row["login"], at, row["reason"], str(row["entry_id"]), row["kind"])
        logs[row["record_id"]].append(access)
    return logs


async def access_log_of(pool: asyncpg.Pool[Any], record_id: UUID) -> list[Access]:
    """Return who read content of one record."""
    return (await access_logs_of(pool, [record_id]))[record_id]
