"""Writes ``docs/record.md``: schemas, tables, views, columns and functions of the record, from the database's comments.

``python -m services.cli.docs_record`` reads the database that the environment names, or that of the running stack, and
writes the page anew; ``--check`` exits 1 if it differs. The words stand in the migrations, and nowhere else.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from schemas.documents import DOCS, run
from services.cli.environment import settings as load_settings
from services.runtime import queries
from services.runtime.postgres import Connection, open_pool

SCHEMAS: Final = ("record", "facts", "vault", "keyring")
PAGE: Final = "record.md"
_SQL: Final = queries.load("docs")
_INTRODUCTION: Final = """\
# The record in Postgres

Made by `python -m services.cli.docs_record` from the comments in the database; edit `schemas/sql/migrations/` instead.

- **Entries** (`record.entry`) are the record: one row per step, each bound to its predecessor by hash. What each kind
  of entry says in `body` is in [schemas/entries](schemas/entries). Everything else in `record` is operational state.
- **Facts** (`facts`) are typed rows for analysts, written when a record is sealed and rebuilt from the entries.
- **Content** is in `vault`, encrypted with a key per record that is in `keyring`.
- *Append-only* tables refuse UPDATE, DELETE and TRUNCATE by trigger. Partitioned tables have one partition a month,
  made ahead of time, and a DEFAULT partition that must stay empty.
"""
_ABOUT_QUESTIONS: Final = """\
## Questions

Plain SQL that a member of the role `analyst` may run as it stands. The bounds of `received_at` in each are a quarter:
put your own there, and only those months are read; a join needs them on both sides. Cost is summed over
`facts.attempt`, which also has what came late.
"""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the database says of itself."""

    schemas: Sequence[asyncpg.Record]
    relations: Sequence[asyncpg.Record]
    columns: Sequence[asyncpg.Record]
    functions: Sequence[asyncpg.Record]
    readable: frozenset[str]
    """Full names of what the role ``analyst`` may read."""


async def read(connection: Connection | asyncpg.Pool[Any]) -> Catalogue:
    """Return the catalogue of a migrated database."""
    wanted = list(SCHEMAS)
    return Catalogue(
        schemas=await connection.fetch(_SQL["schemas"], wanted),
        relations=await connection.fetch(_SQL["relations"], wanted),
        columns=await connection.fetch(_SQL["columns"], wanted),
        functions=await connection.fetch(_SQL["functions"], wanted),
        readable=frozenset(row["name"] for row in await connection.fetch(_SQL["granted"], wanted)),
    )


def render(catalogue: Catalogue) -> str:
    """Return the text of ``docs/record.md``."""
    schemas = (part for schema in catalogue.schemas for part in _schema(catalogue, schema))
    return "\n".join([_INTRODUCTION, _questions(), *schemas])


def questions() -> dict[str, str]:
    """Return the SQL of the questions in ``docs/questions`` by the name of their file, in order."""
    return {file.stem: file.read_text(encoding="utf-8") for file in sorted((DOCS / "questions").glob("*.sql"))}


def _questions() -> str:
    """List the questions: the first line of each is its comment."""
    rows = (
        (text.splitlines()[0].removeprefix("-- "), f"[SQL](questions/{name}.sql)") for name, text in questions().items()
    )
    return f"{_ABOUT_QUESTIONS}\n{_table(('question', 'answer'), rows)}"


def _schema(catalogue: Catalogue, schema: asyncpg.Record) -> Iterable[str]:
    yield f"## Schema `{schema['name']}`\n\n{_said(schema['about'])}\n"
    for relation in catalogue.relations:
        if relation["schema"] == schema["name"]:
            yield _relation(catalogue, relation)
    functions = [function for function in catalogue.functions if function["schema"] == schema["name"]]
    if functions:
        rows = ((f"`{f['name']}({f['arguments']})`", _said(f["about"])) for f in functions)
        yield f"### Functions of `{schema['name']}`\n\n{_table(('function', 'does'), rows)}"


def _relation(catalogue: Catalogue, relation: asyncpg.Record) -> str:
    name = f"{relation['schema']}.{relation['name']}"
    kind = "View" if relation["is_view"] else "Table"
    notes = [
        f"primary key ({', '.join(relation['primary_key'])})" if relation["primary_key"] else "",
        f"partitioned by {relation['partitioned_by'].lower()}" if relation["partitioned_by"] else "",
        "append-only" if relation["append_only"] else "",
        "readable by `analyst`" if name in catalogue.readable else "",
    ]
    about = [_said(relation["about"]), f"*{kind}: {', '.join(filter(None, notes))}.*"]
    rows = (
        (f"`{column['name']}`", column["type"] + ("" if column["required"] else ", or null"), _said(column["about"]))
        for column in catalogue.columns
        if (column["schema"], column["relation"]) == (relation["schema"], relation["name"])
    )
    text = "\n\n".join(filter(None, about))
    return f"### `{name}`\n\n{text}\n\n{_table(('column', 'type', 'says'), rows)}"


def _said(comment: str | None) -> str:
    return (comment or "").replace("|", "\\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


async def _page() -> str:
    pool = await open_pool(load_settings().database_url, service="docs", size=1)
    try:
        return render(await read(pool))
    finally:
        await pool.close()


if __name__ == "__main__":
    sys.exit(run({PAGE: asyncio.run(_page())}, "services.cli.docs_record"))
