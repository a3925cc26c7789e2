"""Seeded chance: named draws that depend on (seed, request digest, nth run) and on nothing else."""

from __future__ import annotations

from hashlib import blake2b

_SPAN = 1 << 64


class Draw:
    """The chance that one run of one request body meets.

    Draws are named rather than consumed in order, so that a new kind of draw never changes the others.
    """

    __slots__ = ("_key",)

    def __init__(self, seed: int, digest: bytes, nth: int) -> None:
        self._key = blake2b(
            digest, digest_size=32, key=(seed % _SPAN).to_bytes(8), salt=nth.to_bytes(8), person=b"waybill-sim"
        ).digest()

    def integer(self, name: str, low: int, high: int) -> int:
        """A whole number of ``low`` to ``high``, both included."""
        return low + self._bits(name) % (high - low + 1)

    def fraction(self, name: str) -> float:
        """A number of 0.0 up to, but not including, 1.0."""
        return (self._bits(name) >> 11) / (1 << 53)

    def token(self, name: str, length: int = 24) -> str:
        """Lower-case hex digits, for ids; at most 64 of them."""
        return blake2b(name.encode(), digest_size=32, key=self._key).hexdigest()[:length]

    def _bits(self, name: str) -> int:
        return int.from_bytes(blake2b(name.encode(), digest_size=8, key=self._key).digest())
