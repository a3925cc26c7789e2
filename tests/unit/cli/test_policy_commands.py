"""`waybill policy` and `waybill catalog`: from files alone, in words and as JSON, failing where something is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from services.cli.policies.folder import PolicyRefusedError

CONFIG = Path(__file__).resolve().parents[3] / "config"


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "WAYBILL_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WAYBILL_SIMULATOR_URL", "http://127.0.0.1:4000")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


def waybill(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout


def answer(*arguments: str, code: int = 0) -> Any:
    return json.loads(waybill(*arguments, "--json", code=code))


@pytest.mark.parametrize("group", ["policy", "catalog"])
@pytest.mark.parametrize("given", [".", "policies"])
def test_what_is_shipped_is_checked_without_a_finding(folder: Path, group: str, given: str) -> None:
    assert waybill(group, "check", str(folder / given), "--strict").endswith("0 errors, 0 warnings.\n")


def test_the_folder_of_the_environment_is_meant_where_none_is_given(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("WAYBILL_CONFIG_DIR", str(folder))
    assert answer("policy", "check")["rules"] == 7


def test_a_finding_is_told_with_its_place_and_fails(folder: Path) -> None:
    more = folder / "policies" / "more.yaml"
    more.write_text(
        "version: 1\nrules:\n  - {id: r, description: d, when: 'quality == \"best\"', effects: {human_review: true}}\n"
    )
    assert f"{more}:3:5: error: rule r: " in waybill("policy", "check", str(folder), code=1)
    (finding,) = answer("policy", "check", str(folder), code=1)["findings"]
    assert (finding["file"], finding["line"], finding["code"]) == (str(more), 3, "never-applies")


def test_a_warning_fails_only_if_asked_to(folder: Path) -> None:
    rule = "  - {id: r, description: d, when: 'size(tools) >= 0', effects: {human_review: true}}"
    (folder / "policies" / "more.yaml").write_text(f"version: 1\nrules:\n{rule}\n")
    assert "1 warning." in waybill("policy", "check", str(folder))
    waybill("policy", "check", str(folder), "--strict", code=1)


def test_a_file_that_cannot_be_used_is_an_error_for_people(folder: Path) -> None:
    (folder / "policies" / "default.yaml").write_text("version: 1\nrules: [{}]\n")
    with pytest.raises(PolicyRefusedError, match=r"default.yaml:2:9: rule 1: id: is missing") as raised:
        waybill("policy", "check", str(folder))
    assert raised.value.hint


def test_examples_are_decided_and_one_that_does_not_hold_fails(folder: Path) -> None:
    assert answer("policy", "test", str(folder))["failed"] == 0
    example = "version: 1\nexamples:\n  - {name: mine, expect: {route: nowhere}}\n"
    (folder / "policies" / "examples" / "mine.yaml").write_text(example)
    said = waybill("policy", "test", str(folder), code=1)
    assert "mine.yaml:3:5: example 'mine'" in said
    assert "the route is simulator/sim-ok@local, and not nowhere" in said


def test_without_examples_there_is_a_word_about_it(folder: Path) -> None:
    shutil.rmtree(folder / "policies" / "examples")
    assert "There are no examples" in waybill("policy", "test", str(folder))


def test_two_bundles_are_compared(folder: Path) -> None:
    assert "say the same" in waybill("policy", "diff", str(CONFIG), str(folder))
    rules = folder / "policies" / "default.yaml"
    rules.write_text(rules.read_text().replace("min_quality: 0.75", "min_quality: 0.7"))
    assert answer("policy", "diff", str(CONFIG), str(folder))["differences"] == [
        {
            "what": "rule high-quality-asked",
            "change": "changed",
            "direction": "wider",
            "lines": ["min_quality: 0.7 instead of 0.75"],
        }
    ]


def test_a_job_is_tried_and_explained(folder: Path) -> None:
    said = waybill("policy", "try", "data_class=confidential", 'tools=["web_search"]', "--config", str(folder))
    assert "may use none of them" in said
    assert "(rule confidential-restricted)" in said
    waybill("policy", "try", "colour=red", code=2)
    waybill("policy", "try", "colour", code=2)


def test_the_catalog_is_shown_as_a_table_and_as_json() -> None:
    world = str(CONFIG / "policies" / "examples" / "world")
    table = waybill("catalog", "show", world, "--task", "summarise")
    assert "30 d in us" in table
    assert answer("catalog", "show", world)["providers"]["azure"]["hosting"] == "private"


def test_what_is_odd_in_a_catalog_is_told(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("WAYBILL_SIMULATOR_URL")
    codes = [finding["code"] for finding in answer("catalog", "check", str(folder))["findings"]]
    assert codes == ["not-callable", "not-callable"]
