"""The commands where the stack cannot be: without its packages, and without anything running."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from services.cli import stack


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    stack.register(made)
    return made


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_without_the_extra_each_command_says_what_to_install(
    app: typer.Typer, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "services.standalone.stack", None)
    result = CliRunner().invoke(app, [command])
    assert isinstance(result.exception, stack.StandaloneMissingError)
    assert "waybill[standalone]" in result.exception.hint


def test_status_of_nothing_is_down_and_makes_nothing(app: typer.Typer, tmp_path: Path) -> None:
    folder = tmp_path / "state [/odd]"
    result = CliRunner().invoke(app, ["status", "--json", "--state-dir", str(folder)])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["state"] == "down"
    result = CliRunner().invoke(app, ["status"], env={"WAYBILL_STATE_DIR": str(folder)})
    assert result.exit_code == 1
    assert str(folder) in result.stdout
    assert "waybill up" in result.stdout
    assert not folder.exists()
