"""The folder of published checkpoints, outside the database: the memory that a restored database cannot roll back.

    checkpoints  every checkpoint, oldest first, one empty line after each; only ever appended to
    latest       the newest one
    lock         held while publishing

``checkpoints`` is the authority. A crash while appending leaves a torn last note, which was never published and is cut
off; a crash after it leaves an old ``latest``, which is written anew with the next checkpoint. Publishing compares
and swaps under the lock: whoever slept since looking finds another newest checkpoint, and publishes nothing.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from services.proof.checkpoint import Checkpoint
from services.proof.errors import FolderError
from services.proof.note import VerifyingKey

HISTORY: Final = "checkpoints"
LATEST: Final = "latest"
LOCK: Final = "lock"
LOCK_PATIENCE_S: Final = 5.0
"""Publishing takes milliseconds: who holds the lock for longer has been stopped."""
_TAIL_BYTES: Final = 64 * 1024
_DASH: Final = "\N{EM DASH}".encode()


class CheckpointFolder:
    """Published checkpoints of one log, all signed by one key."""

    def __init__(self, path: Path, key: VerifyingKey) -> None:
        """Name the folder, which :meth:`publish` makes, and whose checkpoints are in it."""
        self.path = path
        self._key = key
        self._history = path / HISTORY

    def newest(self) -> Checkpoint | None:
        """Return the last checkpoint that was published, or None; raises :class:`ProofError`."""
        newest: Checkpoint | None = None
        for note in _complete(self._read(self._history, _TAIL_BYTES))[0][-1:]:
            newest = Checkpoint.opened(note, self._key)
        latest = self._read(self.path / LATEST).decode(errors="replace")
        if latest:
            shown = Checkpoint.opened(latest, self._key)
            if newest is None or shown.size > newest.size or (shown.size == newest.size and shown != newest):
                raise FolderError(
                    f"{self.path}: `{LATEST}`, of {shown.size} entries, is not in `{HISTORY}`",
                    hint="Checkpoints were removed from the file; put a copy of it back.",
                )
        return newest

    def history(self, least: int = 0) -> list[Checkpoint]:
        """Return the published checkpoints of at least so many entries, oldest first.

        Raises :class:`ProofError` for one of them that is not signed; signatures of smaller ones are not looked at.
        """
        notes, _ = _complete(self._read(self._history))
        return [
            Checkpoint.opened(note, self._key)
            for note in notes
            if not least or Checkpoint.parse(note.partition("\n\n")[0]).size >= least
        ]

    def newest_note(self) -> str:
        """Return the newest checkpoint as it was signed; raises :class:`FolderError` where there is none."""
        notes, _ = _complete(self._read(self._history, _TAIL_BYTES))
        if not notes:
            raise FolderError(f"no checkpoint has been published in {self.path}")
        return notes[-1]

    def publish(self, previous: Checkpoint | None, note: str) -> bool:
        """Append a checkpoint that extends ``previous``; False, doing nothing, if that is not the newest any more.

        The file has reached the disk when this returns. Raises :class:`FolderError` where another keeps the lock.
        Blocks: call it from a thread.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if self.newest() != previous:
                return False
            with self._history.open("ab") as file:
                # What a crash left of a note that was never published.
                file.truncate(self._published_bytes())
                file.write(note.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            self._replace_latest(note)
            return True

    def _published_bytes(self) -> int:
        size = self._history.stat().st_size
        tail = self._read(self._history, _TAIL_BYTES)
        return size - _complete(tail)[1]

    def _replace_latest(self, note: str) -> None:
        fresh = self.path / f".{LATEST}"
        with fresh.open("wb") as file:
            file.write(note.encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path / LATEST)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _read(self, file: Path, last: int | None = None) -> bytes:
        """Return a file's content, or at most its ``last`` bytes; nothing where there is no file."""
        try:
            with file.open("rb") as source:
                if last is not None:
                    source.seek(max(0, source.seek(0, os.SEEK_END) - last))
                return source.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise FolderError(f"{file} cannot be read: {type(error).__name__}") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + LOCK_PATIENCE_S
            while not _taken(descriptor):
                if time.monotonic() > deadline:
                    raise FolderError(f"another notary holds the lock of {self.path}")
                time.sleep(0.01)
            yield
        finally:
            os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _complete(content: bytes) -> tuple[list[str], int]:
    """Return the complete notes in a part of the history, and how many bytes follow the last of them.

    The first of them is none if the part begins within a note.
    """
    notes: list[str] = []
    text: bytes | None = None
    at = end = 0
    for block in content.split(b"\n\n")[:-1]:
        at += len(block) + 2
        if not block.startswith(_DASH):
            text = block
        elif text is not None:
            notes.append((text + b"\n\n" + block + b"\n").decode(errors="replace"))
            text, end = None, at
    return notes, len(content) - end
