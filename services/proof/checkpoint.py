"""Checkpoints (c2sp.org/tlog-checkpoint): how many entries there are, and the root over all of them.

Three extension lines follow the root: ``system``, the identifier of the database cluster; ``positions``, the digest of
the packs that gave each entry its position; ``time``, when it was signed, by the notary's clock.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from services.proof.errors import CheckpointFormatError
from services.proof.merkle import HASH_BYTES
from services.proof.note import SigningKey, VerifyingKey

_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a notary signs."""

    origin: str
    size: int
    root: bytes
    system: int
    positions: bytes
    time: datetime

    def text(self) -> str:
        """Return the text that is signed."""
        root, positions = (base64.b64encode(value).decode() for value in (self.root, self.positions))
        return (
            f"{self.origin}\n{self.size}\n{root}\n"
            f"system {self.system}\npositions {positions}\ntime {self.time.astimezone(UTC):{_TIME}}\n"
        )

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a text; raises :class:`CheckpointFormatError`. Lines that a later release adds are ignored."""
        try:
            origin, size, root, *extensions = text.removesuffix("\n").split("\n")
            named = dict(line.split(" ", 1) for line in extensions)
            checkpoint = cls(
                origin=origin,
                size=int(size),
                root=base64.b64decode(root, validate=True),
                system=int(named["system"]),
                positions=base64.b64decode(named["positions"], validate=True),
                time=datetime.strptime(named["time"], _TIME).replace(tzinfo=UTC),
            )
        except (ValueError, KeyError):
            raise CheckpointFormatError from None
        if not origin or size != str(checkpoint.size) or checkpoint.size < 0:
            raise CheckpointFormatError
        if len(checkpoint.root) != HASH_BYTES or len(checkpoint.positions) != HASH_BYTES:
            raise CheckpointFormatError
        return checkpoint

    def signed(self, key: SigningKey) -> str:
        """Return it as a note."""
        return key.sign(self.text())

    @classmethod
    def opened(cls, note: str, key: VerifyingKey) -> Checkpoint:
        """Return the checkpoint in a note that ``key`` signed; raises :class:`NoteError` or a format error."""
        checkpoint = cls.parse(key.open(note))
        if checkpoint.origin != key.name:
            raise CheckpointFormatError(f"a checkpoint of {checkpoint.origin} is signed by {key.name}")
        return checkpoint
