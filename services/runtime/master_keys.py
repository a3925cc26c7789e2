"""Master keys: they wrap every key of the keyring, and stand outside every database.

The first one is current and wraps; the others only open what they wrapped before. A wrapped key names its master key,
so that a deployment can change it while it runs: see `waybill keys rotate`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.runtime.errors import WaybillError
from services.runtime.settings import Settings
from services.runtime.surroundings import random_bytes

_KEY: Final = 32
_NONCE: Final = 12
_BETWEEN: Final = re.compile(r"[\s,]+")


class MasterKeyError(WaybillError):
    """The master key cannot be used."""

    hint = (
        "WAYBILL_MASTER_KEY_FILE names a file with 32 bytes in base64, or WAYBILL_MASTER_KEY holds them: "
        "`openssl rand -base64 32` makes a key. Of several, the first is current."
    )


class WrappedKeyDamagedError(WaybillError):
    """A key of the keyring does not open: it was changed, or belongs elsewhere."""

    hint = "Restore the row from a backup of the keyring; without its key, content cannot be read."


class MasterKey:
    """One master key: it wraps other keys, each bound to what it is for."""

    def __init__(self, secret: bytes) -> None:
        """Take 32 bytes; raises :class:`MasterKeyError` for any other length."""
        if len(secret) != _KEY:
            raise MasterKeyError(f"the master key has {len(secret)} bytes, not {_KEY}")
        self._aead = AESGCM(secret)
        self.name: Final = hashlib.sha256(b"waybill master key name" + secret).hexdigest()[:16]

    def wrap(self, purpose: bytes, secret: bytes) -> bytes:
        """Encrypt a key, bound to its purpose."""
        nonce = random_bytes(_NONCE)
        return nonce + self._aead.encrypt(nonce, secret, purpose)

    def unwrap(self, purpose: bytes, wrapped: bytes) -> bytes:
        """Decrypt a key; raises :class:`WrappedKeyDamagedError`."""
        try:
            return self._aead.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], purpose)
        except (InvalidTag, ValueError):  # ValueError: cut off within its nonce
            raise WrappedKeyDamagedError from None


class MasterKeys:
    """The master keys of a deployment, the current one first."""

    def __init__(self, keys: Sequence[MasterKey]) -> None:
        """Take at least one key; raises :class:`MasterKeyError`."""
        if not keys:
            raise MasterKeyError("no master key is set")
        self.current: Final = keys[0]
        self._by_name: Final = {key.name: key for key in keys}

    @classmethod
    def parse(cls, text: str, *, source: str) -> MasterKeys:
        """Read keys in base64, one a line or comma separated; raises :class:`MasterKeyError`, which never shows one."""
        try:
            parts = [part for part in _BETWEEN.split(text) if part]
            return cls([MasterKey(base64.b64decode(part, validate=True)) for part in parts])
        except ValueError:
            raise MasterKeyError(f"{source} holds something that is not base64") from None

    @classmethod
    def of(cls, settings: Settings) -> MasterKeys:
        """Return the keys that the settings name or hold; raises :class:`MasterKeyError`."""
        if settings.master_key is None:
            return cls.read(settings.master_key_file)
        if settings.master_key_file is not None:
            raise MasterKeyError("WAYBILL_MASTER_KEY and WAYBILL_MASTER_KEY_FILE are both set")
        return cls.parse(settings.master_key.get_secret_value(), source="WAYBILL_MASTER_KEY")

    @classmethod
    def read(cls, file: Path | None) -> MasterKeys:
        """Read the keys in a file; raises :class:`MasterKeyError`."""
        if file is None:
            raise MasterKeyError("no master key is set")
        try:
            text = file.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise MasterKeyError(f"the master key file {file} cannot be read: {type(error).__name__}") from None
        return cls.parse(text, source=f"the master key file {file}")

    @property
    def names(self) -> list[str]:
        """The names of all keys, the current one's first."""
        return list(self._by_name)

    def wrap(self, purpose: bytes, secret: bytes) -> bytes:
        """Encrypt a key under the current master key."""
        return self.current.wrap(purpose, secret)

    def unwrap(self, name: str, purpose: bytes, wrapped: bytes) -> bytes:
        """Decrypt a key that the master key of that name wrapped.

        Raises :class:`MasterKeyError` where there is none of that name, which is a deployment to mend and no content
        lost, and :class:`WrappedKeyDamagedError`.
        """
        master = self._by_name.get(name)
        if master is None:
            raise MasterKeyError(f"a key was wrapped by master key {name}, which is not among those set")
        return master.unwrap(purpose, wrapped)
