"""The page for operators lists every setting, with the default that the code has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docs_pages import ROOT
from pydantic_core import PydanticUndefined

from services.runtime.settings import Settings

ROW = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \| ([^|]*) \| ([^|]+) \|$", re.MULTILINE)


def shown(default: Any) -> str:
    """Return a default as the page writes it."""
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return ""
    return f"`{'{}' if default == {} else default}`"


def rows() -> dict[str, tuple[str, str]]:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.partition("## Settings")[2].partition("\n## ")[0].partition("### Others")[0]
    return {name: (default.strip(), about.strip()) for name, default, about in ROW.findall(section)}


def test_the_table_lists_every_setting_with_its_default() -> None:
    expected = {str(field.alias): shown(field.default) for field in Settings.model_fields.values()}
    assert {name: default for name, (default, _) in rows().items()} == expected


def test_every_setting_is_explained() -> None:
    assert [name for name, (_, about) in rows().items() if not about] == []


def test_no_page_names_a_setting_that_does_not_exist() -> None:
    known = {str(field.alias) for field in Settings.model_fields.values()} | read_elsewhere()
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    named = {name for page in pages for name in re.findall(r"\bWAYBILL_[A-Z_]+\b", page.read_text(encoding="utf-8"))}
    assert named <= known


def read_elsewhere() -> set[str]:
    """Return the variables of Waybill that commands, the standalone stack or the catalog read beside the settings."""
    sources = [*(ROOT / "services").rglob("*.py"), *Path(ROOT / "config").rglob("*.yaml")]
    found: set[str] = set()
    for source in sources:
        found |= set(re.findall(r"\bWAYBILL_[A-Z_]+\b", source.read_text(encoding="utf-8")))
    return found
