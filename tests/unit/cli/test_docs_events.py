"""docs/events.md names every metric, event and state that the services' code has, and no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import services
from schemas.documents import DOCS, differing
from schemas.topics import TOPICS
from services.cli.docs_events import EVENTS, GAUGES, render
from services.runtime.telemetry import Telemetry

ROOT = Path(services.__file__).parent
STAGES = ("classifier", "router", "executor", "recorder")
TEXT = render()


def calls(stage: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call in a service's code with what is called, as it is written."""
    for file in (ROOT / stage).glob("**/*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node


def named(stage: str, *endings: str) -> set[str]:
    """Return the literal first arguments of the calls whose name ends so; raises where one is no literal."""
    found: set[str] = set()
    for name, call in calls(stage):
        if name.endswith(endings):
            argument = call.args[0]
            if isinstance(argument, ast.Name) and name.endswith("events.labels"):
                continue  # the executor's `count`, whose callers are found by themselves
            assert isinstance(argument, ast.Constant), f"{stage}: {ast.unparse(call)} is named at run time"
            found.add(str(argument.value))
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_every_event_is_described_and_every_described_event_exists(stage: str) -> None:
    assert named(stage, "telemetry.events.labels", "tools.count") == {name for s, name in EVENTS if s == stage}


@pytest.mark.parametrize("stage", STAGES)
def test_every_state_is_described_and_every_described_state_exists(stage: str) -> None:
    assert named(stage, "telemetry.gauges.labels") == {name for s, name in GAUGES if s == stage}


def test_the_scan_finds_something() -> None:
    assert {service for service, _ in EVENTS} <= set(STAGES)
    assert "sealed" in named("recorder", "telemetry.events.labels")
    assert "held" in named("executor", "tools.count")


def test_every_metric_is_described() -> None:
    for family in Telemetry("router").registry.collect():
        if not family.name.startswith("process_"):
            assert family.name.replace("router", "<service>") in TEXT
            assert family.documentation in TEXT


def test_every_topic_is_described() -> None:
    for topic in TOPICS:
        assert f"| `{topic.name}` |" in TEXT


def test_the_file_is_what_the_tables_say() -> None:
    assert differing({"events.md": TEXT}, DOCS) == [], "run `make docs`"
