"""``docs/detectors.md`` says what the rules say."""

from __future__ import annotations

from pathlib import Path

from services.cli.docs_detectors import GROUPS, IN_CODE, render
from services.detect.rules import type_groups

DOCUMENT = Path(__file__).parents[3] / "docs" / "detectors.md"


def test_the_document_is_the_rules() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == render()


def test_every_type_stands_in_it() -> None:
    assert set(GROUPS) == set(type_groups().values())
    assert set(type_groups()) >= set(IN_CODE)
    assert [type_ for type_ in type_groups() if f"| `{type_}` |" not in render()] == []
