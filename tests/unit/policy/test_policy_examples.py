"""Examples that are kept beside a bundle: the shipped ones hold, and one that does not hold is told in words."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from policy_builders import CONFIG, ENVIRON

from services.cli.policies.docs_decisions import FOLDER, pages
from services.policy import Policy, PolicyError
from services.policy.examples import Outcome, run

DECISIONS = Path(__file__).resolve().parents[3] / "docs" / "decisions"


@pytest.mark.parametrize(("folder", "least"), [(CONFIG, 25), (DECISIONS, 2)])
def test_what_is_shipped_decides_as_its_examples_say(folder: Path, least: int) -> None:
    outcomes = list(run(folder / "policies", Policy.load(folder, ENVIRON)))
    assert [(outcome.example.name, outcome.problems) for outcome in outcomes if outcome.problems] == []
    assert len(outcomes) >= least


def test_every_rule_that_is_shipped_is_shown_at_work() -> None:
    policy = Policy.load(CONFIG, ENVIRON)
    shown = {fired.rule.id for outcome in run(CONFIG / "policies", policy) for fired in policy.fired(outcome.job)}
    assert shown == {rule.id for rule in policy.bundle.rules}


def test_the_decisions_in_the_docs_are_those_that_are_made() -> None:
    found = pages()
    assert {path.name for path in FOLDER.glob("*.md")} == set(found)
    for name, text in found.items():
        assert (FOLDER / name).read_text() == text, f"run python -m services.cli.policies.docs_decisions for {name}"


def with_example(tmp_path: Path, **example: Any) -> list[Outcome]:
    folder = Path(shutil.copytree(CONFIG, tmp_path / "config"))
    content = {"version": 1, "world": "world", "examples": [{"name": "one", "expect": {}, **example}]}
    (folder / "policies" / "examples" / "gating.yaml").write_text(yaml.safe_dump(content))
    return list(run(folder / "policies", Policy.load(folder, ENVIRON)))


SENSITIVE = {"data_class": "confidential", "findings": {"email": 1}, "tools": ["kb_search", "web_search"]}


@pytest.mark.parametrize(
    ("job", "now", "expect", "words"),
    [
        ({}, {}, {"route": "openai/*"}, "the route is own/llama-4-scout@eu, and not openai/*"),
        ({}, {}, {"route": "none"}, "the route is own/llama-4-scout@eu, and not none"),
        ({}, {}, {"tier": "batch"}, "the tier is standard"),
        ({}, {}, {"waits_for": "outage"}, "it does not wait, it goes to own/llama-4-scout@eu"),
        (
            {},
            {},
            {"fallbacks": []},
            "the fallbacks are openai/gpt-5.4-mini@us and openai-eu/",
        ),
        ({}, {}, {"falls_back": {"rate_limited": "azure/*"}}, "after rate_limited openai/gpt-5.4-mini@us takes over"),
        ({}, {}, {"falls_back": {"refused": "azure/*"}}, "after refused none takes over"),
        ({}, {}, {"escalates_to": "none"}, "it escalates to openai/gpt-5.4@us, and not to none"),
        ({}, {}, {"shadows": ["azure/*"]}, "the shadows are none, and not azure/*"),
        ({}, {}, {"rules": ["tools-reliable"]}, "the rule tools-reliable did not apply; those that did"),
        (SENSITIVE, {}, {"rules_not": ["tools-reliable"]}, "the rule tools-reliable applied"),
        ({}, {}, {"reasons": ["sensitive_data"]}, "sensitive_data is not among the reasons, which are default_limits"),
        (SENSITIVE, {}, {"ruled_out": {"openai/*": "job"}}, "the route openai/* was not ruled out by job, but by"),
        (SENSITIVE, {}, {"tools_allowed": []}, "tools_allowed is kb_search, and not none"),
        (SENSITIVE, {}, {"logging": "standard"}, "logging is strict, and not standard"),
        ({}, {}, {"budgets": {"max_attempts": 5}}, "max_attempts is 6, and not 5"),
        ({}, {}, {"budgets": {"max_atempts": 5}}, "max_atempts is not a budget, and not 5"),
        ({}, {}, {"explained": ["in vain"]}, "the explanation does not say 'in vain'"),
        ({}, {"closed": [{"what": "all"}]}, {"route": "own/*"}, "there is no route: No route that this job may take"),
        ({}, {"closed": [{"what": "all"}]}, {"waits_for": "gate"}, "it waits for outage, and not for gate"),
    ],
)
def test_what_is_not_as_expected_is_told(
    tmp_path: Path, job: dict[str, Any], now: dict[str, Any], expect: dict[str, Any], words: str
) -> None:
    (outcome,) = with_example(tmp_path, job=job, now=now, expect=expect)
    assert len(outcome.problems) == 1
    assert words in outcome.problems[0]


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ({"job": {"colour": "red"}}, r"gating.yaml:\d+:3: example 'one': .*colour"),
        ({"job": {"data_class": "secret"}}, r"gating.yaml:\d+:3: example 'one': the job is not valid"),
        ({"expect": {"rout": "x"}}, r"gating.yaml:\d+:5: examples.0.expect.rout: .*did you mean 'route'\?"),
        ({"expect": {"falls_back": {"bored": "x"}}}, r"gating.yaml:\d+:7: "),
    ],
)
def test_an_example_that_is_not_valid_is_named_with_its_place(
    tmp_path: Path, example: dict[str, Any], words: str
) -> None:
    with pytest.raises(PolicyError, match=words):
        with_example(tmp_path, **example)
