"""The page about the record says what a migrated database says of itself."""

from __future__ import annotations

from schemas.documents import DOCS
from services.cli import docs_record
from services.runtime.postgres import Connection


async def test_the_page_is_what_the_database_says(connection: Connection) -> None:
    page = docs_record.render(await docs_record.read(connection))
    assert (DOCS / docs_record.PAGE).read_text(encoding="utf-8") == page, (
        "run `python -m services.cli.docs_record` against a migrated database"
    )


async def test_every_relation_and_every_fact_is_described(connection: Connection) -> None:
    catalogue = await docs_record.read(connection)
    assert {row["name"] for row in catalogue.schemas} == set(docs_record.SCHEMAS)
    assert [row["name"] for row in catalogue.relations if not row["about"]] == []
    tables = {row["name"] for row in catalogue.relations if not row["is_view"]}
    facts = [row for row in catalogue.columns if row["schema"] == "facts" and row["relation"] in tables]
    assert len(facts) > 50
    assert [row["name"] for row in facts if not row["about"]] == []


async def test_an_analyst_reads_facts_and_nothing_else(connection: Connection) -> None:
    catalogue = await docs_record.read(connection)
    assert catalogue.readable == {
        f"{row['schema']}.{row['name']}" for row in catalogue.relations if row["schema"] == "facts"
    }
