"""The manifest of one month: what was exported, from which rows, and the digest of each file."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

FORMAT_VERSION: Final = 1
_CHUNK: Final = 1 << 20


class File(BaseModel):
    """One file of a month; ``path`` is relative to the export's folder."""

    model_config = ConfigDict(frozen=True)

    relation: str
    path: str
    rows: int
    bytes: int
    sha256: str


class Source(BaseModel):
    """The rows of one table that the files were made of: equal numbers mean equal rows."""

    model_config = ConfigDict(frozen=True)

    rows: int
    hash: int


class Manifest(BaseModel):
    """What stands in ``YYYY-MM.json``. Times are UTC; the month holds ``start`` and not ``end``."""

    model_config = ConfigDict(frozen=True)

    format_version: int = FORMAT_VERSION
    month: str
    start: datetime
    end: datetime
    closed: bool
    schema_version: int
    columns: str
    """SHA-256 of the names and types of all columns."""
    source: dict[str, Source]
    files: list[File]
    exported_at: datetime
    exported_by: str

    def says_the_same(self, columns: str, source: dict[str, Source], *, closed: bool) -> bool:
        """Say whether an export of these rows would be this one again."""
        said = (self.format_version, self.columns, self.source, self.closed)
        return said == (FORMAT_VERSION, columns, source, closed)

    def is_complete(self, folder: Path) -> bool:
        """Say whether every file is there as it was written."""
        return all(
            (folder / file.path).is_file()
            and (folder / file.path).stat().st_size == file.bytes
            and digest_of(folder / file.path) == file.sha256
            for file in self.files
        )


def read(path: Path) -> Manifest | None:
    """Return a manifest, or None where there is none that this release can read."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex, read piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
