"""Reading a file or standard input as numbered lines, whatever their size, within bounded memory."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

import orjson

from schemas.topics import KIB, MIB, REQUESTS
from services.runtime.errors import WaybillError

CHUNK_BYTES: Final = MIB
# The broker counts the batch around the message too; it must never be the one to refuse, for that breaks the sequence
# of an idempotent producer.
MAX_LINE_BYTES: Final = REQUESTS.max_message_bytes - 8 * KIB


class InputUnreadableError(WaybillError):
    """The file cannot be read."""

    hint = "Name a readable file of JSON lines, or `-` for standard input."


class Format(StrEnum):
    """What the lines are."""

    NATIVE = "native"
    OPENAI_BATCH = "openai-batch"


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end. ``raw`` is None where it was too large to be kept."""

    number: int
    raw: bytes | None


class LineSplitter:
    """Cuts chunks into lines. Numbers count every line; empty ones are left out of what is returned."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._number = 0
        self._rest = bytearray()
        self._too_large = False

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Yield the lines that end in this chunk."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._add(piece)
            yield from self._end()
        self._add(rest)

    def finish(self) -> Iterator[Line]:
        """Yield the last line, which may lack its end."""
        if self._rest or self._too_large:
            yield from self._end()

    def _add(self, piece: bytes) -> None:
        if len(self._rest) + len(piece) > self._limit:
            self._too_large = True
            self._rest.clear()
        if not self._too_large:
            self._rest += piece

    def _end(self) -> Iterator[Line]:
        self._number += 1
        raw = bytes(self._rest).removesuffix(b"\r")
        if self._number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if self._too_large:
            yield Line(self._number, None)
        elif raw.strip():
            yield Line(self._number, raw)
        self._rest.clear()
        self._too_large = False


async def read_lines(source: BinaryIO) -> AsyncIterator[Line]:
    """Yield the lines of an open file or pipe as they come; nothing is waited for while lines are at hand."""
    splitter = LineSplitter()
    async for chunk in _chunks(source):
        for line in splitter.feed(chunk):
            yield line
    for line in splitter.finish():
        yield line


def open_source(path: Path) -> BinaryIO:
    """Open a file, or standard input for ``-``; raises :class:`InputUnreadableError`."""
    if str(path) == "-":
        return sys.stdin.buffer
    try:
        return path.open("rb")
    except OSError as error:
        raise InputUnreadableError(f"{path} cannot be read: {error.strerror}") from error


def size_of(source: BinaryIO) -> int | None:
    """Return the size in bytes of a regular file, None of a pipe."""
    status = os.fstat(source.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def detect(line: Line) -> Format:
    """Return the format that a first line speaks for."""
    if line.raw is None:
        return Format.NATIVE
    try:
        document = orjson.loads(line.raw)
    except orjson.JSONDecodeError:
        return Format.NATIVE
    is_batch = isinstance(document, dict) and {"custom_id", "method", "url"} <= document.keys()
    return Format.OPENAI_BATCH if is_batch else Format.NATIVE


async def _chunks(source: BinaryIO) -> AsyncIterator[bytes]:
    mode = os.fstat(source.fileno()).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(source.fileno()):
        # A pipe may have nothing to say for long; what was published meanwhile must still be sent and acknowledged.
        reader = asyncio.StreamReader(limit=CHUNK_BYTES)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                yield chunk
        finally:
            transport.close()
        return
    while chunk := source.read(CHUNK_BYTES):
        yield chunk
        # Disks answer at once: the loop gets its turn between chunks.
        await asyncio.sleep(0)
