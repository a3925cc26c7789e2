"""The frames of a spool file: answers, and marks that say which of them are stored. Pure.

    magic  kind  claim  length  checksum │ payload
      4     1     16      4        4     │ length

An answer is outstanding until a ``done`` frame names its claim. A last frame that is cut short was being written when
its process died: nobody was told that it is kept. Anything else that cannot be read is damage; reading goes on at the
next frame, so that one bad block costs no other answer.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

_HEADER: Final = struct.Struct(">4sc16sII")
# 0xFF occurs in no UTF-8, so that no payload's facts can look like the start of a frame.
_MAGIC: Final = b"\xffWB1"
_ANSWER, _DONE = b"A", b"D"


@dataclass(slots=True)
class Log:
    """What a spool file holds: where the payload of each outstanding answer begins and ends, oldest first."""

    outstanding: dict[UUID, tuple[int, int]] = field(default_factory=dict)
    damaged: int = 0
    """How many stretches cannot be read."""


def answer(claim: UUID, payload: bytes) -> bytes:
    """Return the frame of an answer."""
    return _frame(_ANSWER, claim, payload)


def done(claim: UUID) -> bytes:
    """Return the frame which says that an answer is stored."""
    return _frame(_DONE, claim, b"")


def _frame(kind: bytes, claim: UUID, payload: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, kind, claim.bytes, len(payload), _checksum(kind, claim.bytes, payload)) + payload


def _checksum(kind: bytes, claim: bytes, payload: bytes) -> int:
    # The length needs no checksum: with another one the payload has another.
    return zlib.crc32(payload, zlib.crc32(kind + claim))


def read(data: bytes | mmap.mmap) -> Log:
    """Return what the bytes of a spool file hold."""
    log = Log()
    place = 0
    while place < len(data):
        frame = _frame_at(data, place)
        if frame is not None:
            kind, claim, begin, place = frame
            if kind == _ANSWER:
                log.outstanding[claim] = (begin, place)
            else:
                log.outstanding.pop(claim, None)
            continue
        following = _next_frame(data, place + 1)
        if following is None and _is_cut_short(data, place):
            break
        log.damaged += 1
        place = len(data) if following is None else following
    return log


def _frame_at(data: bytes | mmap.mmap, place: int) -> tuple[bytes, UUID, int, int] | None:
    """Return kind and claim of the frame at a place, and where its payload begins and ends; None without a frame."""
    begin = place + _HEADER.size
    if begin > len(data):
        return None
    magic, kind, claim, length, checksum = _HEADER.unpack(data[place:begin])
    end = begin + length
    if magic != _MAGIC or end > len(data) or _checksum(kind, claim, data[begin:end]) != checksum:
        return None
    return kind, UUID(bytes=claim), begin, end


def _next_frame(data: bytes | mmap.mmap, place: int) -> int | None:
    while (place := data.find(_MAGIC, place)) >= 0:
        if _frame_at(data, place) is not None:
            return place
        place += 1
    return None


def _is_cut_short(data: bytes | mmap.mmap, place: int) -> bool:
    """Whether the rest of the data can be the beginning of a frame, and no whole one."""
    header = data[place : place + _HEADER.size]
    if not _MAGIC.startswith(header[: len(_MAGIC)]):
        return False
    return len(header) < _HEADER.size or place + _HEADER.size + int(_HEADER.unpack(header)[3]) > len(data)
