"""The words around the code, as the tests of them read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
_CODE: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN: Final = re.compile(r"`([^`\n]+)`")
_HEADING: Final = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_BLOCK_LINE: Final = re.compile(r"^(?:\$ )?(?:\w+=\S+ )*(?:\.venv/bin/)?(waybill .*)$")
_COMMENT: Final = re.compile(r"\s#.*$")


def pages() -> list[Path]:
    """Return every page that people write: those at the root and below docs/."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def named(page: Path) -> str:
    """Return a page's path within the repository, for the names of tests."""
    return str(page.relative_to(ROOT))


def links(text: str) -> list[str]:
    """Return the targets of all links outside code."""
    return _LINK.findall(_CODE.sub("", text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as forges make them."""
    headings = (heading.lower().replace("`", "") for heading in _HEADING.findall(_CODE.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in headings}


def commands(text: str) -> Iterator[str]:
    """Yield what a page tells people to run of the `waybill` command: in code spans, and as lines of code blocks."""
    for block in _CODE.findall(text):
        for line in block.splitlines()[1:-1]:
            if found := _BLOCK_LINE.match(line.strip()):
                yield _COMMENT.sub("", found.group(1)).partition(" | ")[0]
    for span in _SPAN.findall(_CODE.sub("", text)):
        if span.startswith("waybill "):
            yield span
