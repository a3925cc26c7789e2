"""What this library raises: each error says which step of a proof does not hold."""

from __future__ import annotations


class ProofError(Exception):
    """A proof does not hold.

    A subclass's docstring is its default message. ``hint`` is one sentence saying what to do next.
    """

    hint: str = ""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        if hint:
            self.hint = hint


class KeyFormatError(ProofError):
    """This is not an Ed25519 key."""

    hint = "A private key is 32 bytes in base64 or a PEM file; a public key reads NAME+HASH+BASE64."


class NoteError(ProofError):
    """A note is not signed by the key that was expected."""

    hint = "`waybill keys public` prints the key of this deployment's notary."


class CheckpointFormatError(ProofError):
    """A signed text is not a checkpoint of a record."""


class PackError(ProofError):
    """A pack of positions contradicts itself."""


class ProofFileError(ProofError):
    """A proof file does not prove its record."""


class FolderError(ProofError):
    """The folder of published checkpoints cannot be used."""

    hint = "WAYBILL_CHECKPOINT_DIR names a folder that all recorders share, outside the database."
