"""Every named statement: found, described, and with parameters without a gap."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from services.runtime import queries

FILES = sorted(
    file.name.removesuffix(".sql")
    for file in resources.files("schemas.sql").joinpath("queries").iterdir()
    if file.name.endswith(".sql")
)
STATEMENTS = [(file, name) for file in FILES for name in queries.load(file)]


def test_there_are_queries() -> None:
    assert {"ledger", "executor", "recorder"} <= set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_nothing_stands_outside_a_name(file: str) -> None:
    text = resources.files("schemas.sql").joinpath("queries", f"{file}.sql").read_text(encoding="utf-8")

    assert text.startswith("-- name: ")
    assert len(re.findall(r"-- *name", text)) == len(queries.load(file)), "a name that load() does not see"


@pytest.mark.parametrize(("file", "name"), STATEMENTS, ids=lambda part: part)
def test_each_statement_is_described_and_whole(file: str, name: str) -> None:
    statement = queries.load(file)[name]
    description, _, sql = statement.partition("\n")

    assert re.fullmatch(r"-- \S.{10,}", description)
    code = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
    assert code.rstrip().endswith(";")
    numbers = {int(number) for number in re.findall(r"\$(\d+)", code)}
    assert numbers == set(range(1, len(numbers) + 1))


def test_an_unknown_file_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        queries.load("nothing")
