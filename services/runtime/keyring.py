"""The keyring: a random key per record, wrapped by a master key; deleting it erases the record's content.

States of a record key: made at intake (committed before the record itself), used, gone. Only intake makes keys. It may
live in a database of its own. A key whose record was never committed is an orphan, and the recorder sweeps it.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.runtime import queries
from services.runtime.errors import WaybillError
from services.runtime.master_keys import MasterKeys, WrappedKeyDamagedError
from services.runtime.surroundings import random_bytes

_KEY: Final = 32
_SALT: Final = 16
_NONCE: Final = 12
_RAW, _ZSTD = b"\0", b"\1"
_COMPRESS_FROM: Final = 256
MAX_PLAINTEXT: Final = 64 * 1024 * 1024
_SQL = queries.load("keyring")


class _Codec(threading.local):
    """Compression contexts of one thread: made once, because making one costs more than a kilobyte of compressing."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=1)
        self.decompressor = zstandard.ZstdDecompressor()


_codec: Final = _Codec()


class ContentDamagedError(WaybillError):
    """Content in the vault does not decrypt: another key, or changed bytes."""

    hint = "Check that the services share one master key. The record itself is unaffected."


class RecordKey:
    """The content key and digest salt of one record."""

    __slots__ = ("_aead", "_record", "_salt", "secret")

    def __init__(self, record_id: UUID, secret: bytes) -> None:
        """Take the 48 secret bytes: 32 of key, 16 of salt."""
        self.secret = secret
        self._record = record_id.bytes
        self._aead = AESGCM(secret[:_KEY])
        self._salt = secret[_KEY:]

    @classmethod
    def new(cls, record_id: UUID) -> RecordKey:
        """Return a fresh key."""
        return cls(record_id, random_bytes(_KEY + _SALT))

    def digest(self, content: bytes) -> str:
        """Return HMAC-SHA256 in hex under the record's salt: checkable while the key lives, meaningless after."""
        return hmac.digest(self._salt, content, "sha256").hex()

    def encrypt(self, entry_id: UUID, kind: str, content: bytes) -> bytes:
        """Compress and encrypt; the ciphertext is bound to record, entry and kind."""
        packed = _ZSTD + _codec.compressor.compress(content) if len(content) >= _COMPRESS_FROM else _RAW + content
        nonce = random_bytes(_NONCE)
        return nonce + self._aead.encrypt(nonce, packed, self._record + entry_id.bytes + kind.encode())

    def decrypt(self, entry_id: UUID, kind: str, ciphertext: bytes) -> bytes:
        """Return the content; raises :class:`ContentDamagedError`."""
        try:
            packed = self._aead.decrypt(
                ciphertext[:_NONCE], ciphertext[_NONCE:], self._record + entry_id.bytes + kind.encode()
            )
        except (InvalidTag, ValueError):  # ValueError: cut off within its nonce
            raise ContentDamagedError from None
        if packed[:1] == _RAW:
            return packed[1:]
        return _codec.decompressor.decompress(packed[1:], max_output_size=MAX_PLAINTEXT)


class Keyring(Protocol):
    """Where record keys are kept."""

    async def create(self, record_ids: Sequence[UUID]) -> dict[UUID, RecordKey]:
        """Make and commit a key for each record."""

    async def load(self, record_ids: Sequence[UUID]) -> dict[UUID, RecordKey]:
        """Return the keys that exist; a record without one has been erased, or never was."""

    async def delete(self, record_ids: Sequence[UUID]) -> int:
        """Delete keys and return how many there were."""


class PostgresKeyring:
    """Record keys in a table of the keyring's database."""

    def __init__(self, pool: asyncpg.Pool[Any], masters: MasterKeys) -> None:
        """Use a pool of the keyring's database."""
        self._pool = pool
        self._masters = masters

    async def create(self, record_ids: Sequence[UUID]) -> dict[UUID, RecordKey]:
        """Make and commit a key for each record, in a transaction of its own."""
        keys = {record_id: RecordKey.new(record_id) for record_id in record_ids}
        wrapped = [self._masters.wrap(record_id.bytes, key.secret) for record_id, key in keys.items()]
        await self._pool.execute(_SQL["create"], list(keys), wrapped, self._masters.current.name)
        return keys

    async def load(self, record_ids: Sequence[UUID]) -> dict[UUID, RecordKey]:
        """Return the keys that exist. One that is damaged is as good as gone, and absent.

        Raises :class:`MasterKeyError` for a key of another master key: that is a deployment to mend, not content lost.
        """
        return self._opened(await self._pool.fetch(_SQL["load"], record_ids))

    def _opened(self, rows: Iterable[asyncpg.Record]) -> dict[UUID, RecordKey]:
        keys: dict[UUID, RecordKey] = {}
        for row in rows:
            record_id = row["record_id"]
            with suppress(WrappedKeyDamagedError):
                secret = self._masters.unwrap(row["master_key"], record_id.bytes, row["wrapped"])
                keys[record_id] = RecordKey(record_id, secret)
        return keys

    async def find(self, record_id: UUID) -> RecordKey | None:
        """Return one key, with the rights of people; None once it has been erased. Raises what :meth:`load` does."""
        return self._opened(await self._pool.fetch(_SQL["record_key_for_people"], record_id)).get(record_id)

    async def delete(self, record_ids: Sequence[UUID]) -> int:
        """Delete keys and return how many there were."""
        return len(await self._pool.fetch(_SQL["delete"], record_ids))

    async def between(self, after: UUID, before: UUID, limit: int) -> list[UUID]:
        """Return record ids that have keys, from ``after`` (exclusive) to ``before``, in order of their time."""
        return [row["record_id"] for row in await self._pool.fetch(_SQL["between"], after, before, limit)]
