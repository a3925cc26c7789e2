"""The erasure log: what was erased, in a file outside the database, so that a restored backup can be erased again.

One JSON object per line: ids, HMACs, times, who and why; never content. A line is on disk before anything of what it
names is destroyed. Several recorders may share the file; each holds its lock while it appends.
How it fails: a disk that is full or gone raises ``OSError``, and nothing is erased meanwhile. A line that a crash cut
off names what was not erased yet: the next writer ends it, and readers count it as unreadable.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.runtime.durable import sync_folder

_OPEN: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
Cause = Literal["record", "subject", "replay", "retention"]


class Line(BaseModel):
    """One line: the records that were erased together, or the subject that is refused from then on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[1] = 1
    at: datetime
    tenant: str
    actor: str
    reason: str
    cause: Cause
    records: Annotated[tuple[UUID, ...], Field(description="their ids; none where the line names a subject")] = ()
    subject: Annotated[
        str | None, Field(pattern="^[0-9a-f]{64}$", description="HMAC of tenant and subject under the deployment's key")
    ] = None
    refuse_until: datetime | None = None


class ErasureLog:
    """Appends to the file, and makes it with its folder."""

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self._path = path

    def append(self, lines: Iterable[Line]) -> None:
        """Have some lines on disk; raises ``OSError``. Blocks: call it in a thread."""
        written = b"".join(line.model_dump_json(exclude_none=True).encode() + b"\n" for line in lines)
        if not written:
            return
        new = not self._path.exists()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path, _OPEN, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            rest = memoryview(_end_of_what_was_cut_off(file) + written)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        finally:
            os.close(file)
        if new:
            sync_folder(self._path.parent)


def read(path: Path) -> tuple[Sequence[Line], int]:
    """Return the lines of a log, and how many could not be read; raises ``OSError``."""
    lines: list[Line] = []
    unreadable = 0
    for text in path.read_bytes().splitlines():
        if not text.strip():
            continue
        try:
            lines.append(Line.model_validate_json(text))
        except ValidationError:
            unreadable += 1
    return lines, unreadable


def _end_of_what_was_cut_off(file: int) -> bytes:
    size = os.fstat(file).st_size
    return b"\n" if size and os.pread(file, 1, size - 1) != b"\n" else b""
