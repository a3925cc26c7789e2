"""Rows of the database as Parquet: money as decimal, times as UTC timestamps, uuids as uuids, JSON as text."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import asyncpg
import pyarrow as pa
import pyarrow.parquet as pq

from services.cli.export.errors import UnexportableError
from services.cli.export.manifest import File, digest_of

PART: Final = ".part"
TYPES: Final[Mapping[str, Any]] = {
    "bigint": pa.int64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "double precision": pa.float64(),
    "integer": pa.int32(),
    "jsonb": pa.string(),
    # 20 digits before the point and 18 after it: prices are in whole pico-dollars a token.
    "numeric": pa.decimal128(38, 18),
    "text": pa.string(),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
    "uuid": pa.uuid(),
}


def schemas_of(columns: Sequence[asyncpg.Record], relations: Sequence[str]) -> dict[str, Any]:
    """Return the Arrow schema of each relation, from the catalogue's rows of its columns.

    Raises :class:`UnexportableError` for a type that has no place in :data:`TYPES`.
    """
    fields: dict[str, list[Any]] = {relation: [] for relation in relations}
    for column in columns:
        if column["relation"] not in fields:
            continue
        if column["type"] not in TYPES:
            raise UnexportableError(f"facts.{column['relation']}.{column['name']} is a {column['type']}")
        about = {"description": column["about"] or ""}
        fields[column["relation"]].append(pa.field(column["name"], TYPES[column["type"]], metadata=about))
    return {relation: pa.schema(found) for relation, found in fields.items()}


def digest_of_columns(schemas: Mapping[str, Any]) -> str:
    """Return the SHA-256 in hex of all names and types."""
    named = {relation: [(field.name, str(field.type)) for field in schema] for relation, schema in schemas.items()}
    return hashlib.sha256(repr(sorted(named.items())).encode()).hexdigest()


class ParquetPart:
    """One file that is being written beside its place. Left by an error, it stays unfinished and is removed."""

    def __init__(self, folder: Path, relation: str, month: str, schema: Any) -> None:
        """Begin the file ``folder/relation/month.parquet``."""
        self.relation = relation
        self.rows = 0
        self._folder = folder
        self._path = folder / relation / f"{month}.parquet"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._part = self._path.with_name(self._path.name + PART)
        self._schema = schema
        self._writer = pq.ParquetWriter(self._part, schema, compression="zstd")

    def write(self, rows: Sequence[asyncpg.Record]) -> None:
        """Add rows as one group; raises :class:`UnexportableError` for a value that its column cannot hold."""
        if rows:
            columns = zip(*rows, strict=True)
            arrays = [self._array(field, values) for field, values in zip(self._schema, columns, strict=True)]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
            self.rows += len(rows)

    def finish(self) -> File:
        """Complete the file and put it in its place."""
        self._writer.close()
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        digest, size = digest_of(self._part), self._part.stat().st_size
        self._part.replace(self._path)
        path = self._path.relative_to(self._folder).as_posix()
        return File(relation=self.relation, path=path, rows=self.rows, bytes=size, sha256=digest)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._part.unlink(missing_ok=True)

    def _array(self, field: Any, values: Sequence[Any]) -> Any:
        try:
            if field.type == TYPES["uuid"]:
                storage = pa.array([None if value is None else value.bytes for value in values], pa.binary(16))
                return pa.ExtensionArray.from_storage(field.type, storage)
            return pa.array(values, field.type)
        except pa.ArrowException as error:
            where = f"facts.{self.relation}.{field.name}"
            raise UnexportableError(f"a value of {where} does not fit {field.type}") from error
