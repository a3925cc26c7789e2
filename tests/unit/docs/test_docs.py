"""What the pages name exists: files, headings, commands with their options, targets of make."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import click
import pytest
import typer
from docs_pages import ROOT, anchors, commands, links, named, pages

from schemas.codes import ERROR_MESSAGES, ErrorCode
from schemas.feedback import Feedback
from schemas.job import Cancel, Job
from services.cli.main import app

CLI = typer.main.get_command(app)
CHOICE = re.compile(r"^[a-z-]+(\|[a-z-]+)+$")


def unknown(line: str) -> list[str]:
    """Return what a command line names that the command does not have."""
    words = [word.rstrip(".,;:") for word in line.split()[1:]]
    level: click.Command = CLI
    while words and hasattr(level, "commands"):
        name = words.pop(0)
        alternatives = name.split("|") if CHOICE.match(name) else [name]
        missing = [each for each in alternatives if each not in level.commands]
        if missing:
            return missing
        level = level.commands[alternatives[0]]
    options = {option for parameter in level.params for option in parameter.opts} | {"--help"}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in options]


@pytest.mark.parametrize("page", pages(), ids=named)
def test_links_within_the_repository_resolve(page: Path) -> None:
    broken = []
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", pages(), ids=named)
def test_commands_that_are_named_exist(page: Path) -> None:
    wrong = {line: missing for line in commands(page.read_text(encoding="utf-8")) if (missing := unknown(line))}
    assert wrong == {}


def test_the_check_of_commands_can_fail() -> None:
    assert unknown("waybill record burn ID") == ["burn"]
    assert unknown("waybill record list --sincerely 1h") == ["--sincerely"]
    assert unknown("waybill record list|burn") == ["burn"]
    assert unknown("waybill record list --since 1h") == []


def test_targets_of_make_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named_targets = {
        target for page in pages() for target in re.findall(r"`make ([a-z]+)`", page.read_text(encoding="utf-8"))
    }
    assert {"demo", "test", "check"} <= named_targets
    assert named_targets <= targets


def test_the_readme_begins_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first_block = re.search(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)
    assert first_block is not None
    assert "make demo" in first_block.group()
    assert "make test" in first_block.group()


def test_the_examples_in_python_compile() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        compile(example, "README.md", "exec")


def test_the_jobs_in_the_readme_are_jobs_and_results_name_real_codes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        document = json.loads(block)
        if "error" in document:
            assert document["error"]["message"] == ERROR_MESSAGES[ErrorCode(document["error"]["code"])]
        else:
            (Cancel if "type" in document else Feedback).model_validate_json(block)
    for job in re.findall(r"(?:JOB|job) = (\{.*?^\})", text, re.MULTILINE | re.DOTALL):
        Job.model_validate(ast.literal_eval(job))
