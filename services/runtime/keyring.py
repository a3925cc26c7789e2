"""The keyring: a random key per record, wrapped by the master key; deleting it erases the record's content.

States of a record key: made at intake (committed before the record itself), used, gone. Only intake makes keys. It may
live in a database of its own. A key whose record was never committed is an orphan, and the recorder sweeps it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.runtime import queries
from services.runtime.errors import WaybillError
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


class MasterKeyError(WaybillError):
    """The master key cannot be used."""

    hint = "WAYBILL_MASTER_KEY_FILE names a file with 32 bytes in base64: `openssl rand -base64 32` makes one."


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


class MasterKey:
    """The key that wraps record keys, and from which each tenant's key for idempotency hashes is derived."""

    def __init__(self, secret: bytes) -> None:
        """Take 32 bytes; raises :class:`MasterKeyError` for any other length."""
        if len(secret) != _KEY:
            raise MasterKeyError(f"the master key has {len(secret)} bytes, not {_KEY}")
        self._secret = secret
        self._aead = AESGCM(secret)
        self.name = hashlib.sha256(b"waybill master key name" + secret).hexdigest()[:16]
        self._tenants: dict[str, bytes] = {}

    @classmethod
    def read(cls, file: Path | None) -> MasterKey:
        """Read the key from a file; raises :class:`MasterKeyError`, which never shows it."""
        if file is None:
            raise MasterKeyError("no master key is set")
        try:
            return cls(base64.b64decode(file.read_text(encoding="ascii").strip(), validate=True))
        except (OSError, ValueError) as error:
            raise MasterKeyError(f"the master key file {file} cannot be read: {type(error).__name__}") from None

    def wrap(self, record_id: UUID, key: RecordKey) -> bytes:
        """Encrypt a record key, bound to its record."""
        nonce = random_bytes(_NONCE)
        return nonce + self._aead.encrypt(nonce, key.secret, record_id.bytes)

    def unwrap(self, record_id: UUID, wrapped: bytes) -> RecordKey:
        """Decrypt a record key; raises :class:`ContentDamagedError`."""
        try:
            return RecordKey(record_id, self._aead.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], record_id.bytes))
        except (InvalidTag, ValueError):
            raise ContentDamagedError from None

    def tenant_hmac(self, tenant: str, purpose: str, content: bytes) -> bytes:
        """Return HMAC-SHA256 of content under the tenant's key: equal content is recognised, never revealed."""
        secret = self._tenants.get(tenant)
        if secret is None:
            secret = self._tenants[tenant] = hmac.digest(self._secret, b"tenant:" + tenant.encode(), "sha256")
        return hmac.digest(secret, purpose.encode() + b"\0" + content, "sha256")

    def key_hmac(self, tenant: str, idempotency_key: str) -> bytes:
        """Return what an idempotency key is known by; any text a JSON document can hold, lone surrogates included."""
        return self.tenant_hmac(tenant, "key", idempotency_key.encode("utf-8", "surrogatepass"))


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

    def __init__(self, pool: asyncpg.Pool[Any], master: MasterKey) -> None:
        """Use a pool of the keyring's database."""
        self._pool = pool
        self._master = master

    async def create(self, record_ids: Sequence[UUID]) -> dict[UUID, RecordKey]:
        """Make and commit a key for each record, in a transaction of its own."""
        keys = {record_id: RecordKey.new(record_id) for record_id in record_ids}
        wrapped = [self._master.wrap(record_id, key) for record_id, key in keys.items()]
        await self._pool.execute(_SQL["create"], list(keys), wrapped, self._master.name)
        return keys

    async def load(self, record_ids: Sequence[UUID]) -> dict[UUID, RecordKey]:
        """Return the keys that exist. One that is damaged is as good as gone, and absent.

        Raises :class:`MasterKeyError` for a key of another master key: that is a deployment to mend, not content lost.
        """
        keys: dict[UUID, RecordKey] = {}
        for row in await self._pool.fetch(_SQL["load"], record_ids):
            if row["master_key"] != self._master.name:
                raise MasterKeyError(f"record keys were wrapped by master key {row['master_key']}, not by this one")
            with suppress(ContentDamagedError):
                keys[row["record_id"]] = self._master.unwrap(row["record_id"], row["wrapped"])
        return keys

    async def delete(self, record_ids: Sequence[UUID]) -> int:
        """Delete keys and return how many there were."""
        return len(await self._pool.fetch(_SQL["delete"], record_ids))

    async def between(self, after: UUID, before: UUID, limit: int) -> list[UUID]:
        """Return record ids that have keys, from ``after`` (exclusive) to ``before``, in order of their time."""
        return [row["record_id"] for row in await self._pool.fetch(_SQL["between"], after, before, limit)]
