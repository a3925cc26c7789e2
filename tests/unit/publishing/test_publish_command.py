"""Options of the commands, times, and where a command finds its servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from services.cli import cancel, environment, publish
from services.cli.when import parse_deadline, parse_duration

NOW = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    publish.register(app)
    cancel.register(app)
    return app


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86400), ("3d", 259200), (" 1h ", 3600)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "0s", "1.5h", "1w", "999999999d x", "1h30m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is "):
        parse_duration(text)


def test_deadlines() -> None:
    assert parse_deadline("24h", NOW) == datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert parse_deadline("2026-02-01T00:00:00+02:00", NOW) == datetime(2026, 1, 31, 22, tzinfo=UTC)
    assert parse_deadline("2026-02-01T00:00:00Z", NOW) == datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-02-01T00:00:00", "time zone"),
        ("2025-01-01T00:00:00Z", "passed"),
        ("soon", "RFC 3339"),
        ("9999999d", "far"),
    ],
)
def test_what_is_no_deadline(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_deadline(text, NOW)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["publish", "x", "--out", "y"], "--out"),
        (["publish", "x", "--format", "csv"], "--format"),
        (["publish", "x", "--key-id", "k"], "--secret"),
        (["publish", "x", "--secret", "S"], "--key-id"),
        (["publish", "x", "--topics-of", "a", "--key-id", "k", "--secret", "S"], "--topics-of"),
        (["publish", "x", "--topics-of", "UPPER"], "--topics-of"),
        (["cancel"], "ID"),
        (["cancel", "--key", "no-slash"], "--key"),
        (["cancel", "--key", "UPPER/key"], "--key"),
        (["cancel", "--key", "demo/"], "--key"),
        (["cancel", "no-uuid"], "valid UUID"),
    ],
)
def test_wrong_options_are_named(app: typer.Typer, arguments: list[str], says: str) -> None:
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 2
    assert says in outcome.output


def test_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAYBILL_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "postgresql://there/db")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "there:9092")
    monkeypatch.delenv("WAYBILL_MASTER_KEY_FILE", raising=False)
    found = environment.settings(topic_prefix="test.")
    assert (found.kafka_bootstrap_servers, found.topic_prefix, found.master_key_file) == ("there:9092", "test.", None)


def test_without_servers_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAYBILL_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "postgresql://there/db")
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    with pytest.raises(environment.NoDeploymentError, match="KAFKA_BOOTSTRAP_SERVERS is not set") as caught:
        environment.settings()
    assert "waybill up" in caught.value.hint


def test_a_running_stack_fills_in_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = {
        "DATABASE_URL": "postgresql://stack/db",
        "KAFKA_BOOTSTRAP_SERVERS": "stack:9092",
        "WAYBILL_MASTER_KEY_FILE": "/state/master.key",
        "WAYBILL_SIMULATOR_URL": "http://stack:1",
    }
    monkeypatch.setattr(environment, "stack_environment", lambda: stack)
    monkeypatch.setenv("DATABASE_URL", "postgresql://there/db")
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.delenv("WAYBILL_MASTER_KEY_FILE", raising=False)
    found = environment.settings()
    assert (found.database_url, found.kafka_bootstrap_servers) == ("postgresql://there/db", "stack:9092")
    assert found.master_key_file == Path("/state/master.key")
    assert environment.settings(kafka_bootstrap_servers="mine:1").kafka_bootstrap_servers == "mine:1"
