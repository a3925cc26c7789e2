"""C2SP signed notes (c2sp.org/signed-note) with Ed25519: a text, an empty line, and signature lines."""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.proof.errors import KeyFormatError, NoteError

_ED25519: Final = b"\x01"
_DASH: Final = "\N{EM DASH} "
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
MAX_SIGNATURES: Final = 100


class VerifyingKey:
    """A public key and the name that it signs under."""

    def __init__(self, name: str, public: bytes) -> None:
        """Take 32 bytes; raises :class:`KeyFormatError`."""
        if not name or "+" in name or any(character.isspace() for character in name) or not name.isprintable():
            raise KeyFormatError(f"{name!r} cannot be a key's name", hint="No spaces, and no plus sign.")
        if len(public) != _KEY_BYTES:
            raise KeyFormatError(f"a public key has {_KEY_BYTES} bytes, not {len(public)}")
        self.name = name
        self.id = sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:_ID_BYTES]
        self._raw = public
        self._key = Ed25519PublicKey.from_public_bytes(public)

    @classmethod
    def parse(cls, text: str) -> VerifyingKey:
        """Read ``NAME+HASH+BASE64``, as Go and C2SP write it; raises :class:`KeyFormatError`."""
        try:
            name, id_, encoded = text.strip().split("+", 2)
            content = base64.b64decode(encoded, validate=True)
            if content[:1] != _ED25519:
                raise KeyFormatError("this is a key of another algorithm than Ed25519")
            key = cls(name, content[1:])
            if key.id != bytes.fromhex(id_):
                raise KeyFormatError("the public key's hash is not that of its name and key")
        except ValueError:
            raise KeyFormatError from None
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self._raw).decode()}"

    def open(self, note: str) -> str:
        """Return the text of a note that this key signed; raises :class:`NoteError`.

        Signatures by other keys are ignored, as the specification demands: witnesses may have added theirs.
        """
        text, separator, signatures = note.rpartition("\n\n")
        if not separator or not signatures.endswith("\n"):
            raise NoteError("this is not a signed note")
        text += "\n"
        lines = signatures[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise NoteError(f"a note with {len(lines)} signatures is not read")
        for line in lines:
            name, id_, signature = _parsed(line)
            if (name, id_) == (self.name, self.id):
                try:
                    self._key.verify(signature, text.encode())
                except InvalidSignature:
                    raise NoteError(f"the signature of {name} is wrong", hint="The text was changed.") from None
                return text
        raise NoteError(f"the note is not signed by {self.name} with this key")


def _parsed(line: str) -> tuple[str, bytes, bytes]:
    try:
        dash, name, encoded = line.split(" ")
        content = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise NoteError("a signature line is malformed") from None
    if f"{dash} " != _DASH or not name or len(content) <= _ID_BYTES:
        raise NoteError("a signature line is malformed")
    return name, content[:_ID_BYTES], content[_ID_BYTES:]


class SigningKey:
    """A private key, and the name that it signs under."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        """Take a key of the ``cryptography`` package."""
        self._private = private
        self.public = VerifyingKey(name, private.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, name: str, text: str) -> SigningKey:
        """Read 32 bytes in base64, or PEM without a passphrase; raises :class:`KeyFormatError`, never showing it."""
        try:
            if text.lstrip().startswith("-----BEGIN"):
                key = serialization.load_pem_private_key(text.encode(), password=None)
                if not isinstance(key, Ed25519PrivateKey):
                    raise KeyFormatError("the private key is of another algorithm than Ed25519")
            else:
                key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(text.strip(), validate=True))
        except (ValueError, TypeError):
            raise KeyFormatError("the private key cannot be read") from None
        return cls(name, key)

    @classmethod
    def read(cls, name: str, file: Path) -> SigningKey:
        """Read a file of one of these forms; raises :class:`KeyFormatError`."""
        try:
            return cls.parse(name, file.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFormatError(f"the key file {file} cannot be read: {type(error).__name__}") from None

    def sign(self, text: str) -> str:
        """Return a note: the text, which ends in a newline, and one signature."""
        if not text.endswith("\n"):
            raise ValueError("a note's text ends in a newline")
        signature = base64.b64encode(self.public.id + self._private.sign(text.encode())).decode()
        return f"{text}\n{_DASH}{self.public.name} {signature}\n"
