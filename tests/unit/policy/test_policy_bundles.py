"""A bundle is its content: its digest does not know the layout; two bundles are compared in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from policy_builders import CONFIG, ENVIRON, a_bundle, a_catalog, a_rule

from services.policy import Bundle, Policy
from services.policy.difference import diff

FIRST = """
version: 1
defaults:
  background: &all {max_input_tokens: 200_000, max_output_tokens: 4000, max_tool_calls: 20, max_attempts: 6,
                    deadline_ms: 172_800_000, max_cost_usd: "1.00"}
  batch: *all
rules:
  - id: kept
    description: Kept in one place.
    when: data_class == "regulated" && tenant != "a  b"
    reason: {code: kept, text: It is {data_class}.}
    effects: {deny_providers: [gamma, beta], tools_allowed: [b, a], caps: {max_cost_usd: "0.50"}}
  - id: other
    description: Another.
    when: "true"
    effects: {human_review: true}
"""

SAME = """
# The same, said otherwise.
rules:
  - effects: {human_review: true, retention: any}
    when: |
      true // always
    id: other
    description: >
      Another.
  - id: kept
    effects:
      caps: {max_cost_usd: 0.5}
      tools_allowed: [a, b, a]
      deny_providers: [beta, gamma]
    reason: {text: "It is {data_class}.", code: kept}
    when: |
      data_class   == "regulated"  // the strictest
        && tenant != "a  b"
    description: Kept in
      one place.
defaults:
  batch: {max_cost_usd: 1, deadline_ms: 172800000, max_attempts: 6, max_tool_calls: 20, max_output_tokens: 4000,
          max_input_tokens: 200000, max_continuations: 0, over_budget: reject}
  background: {max_cost_usd: 1.0, deadline_ms: 172800000, max_attempts: 6, max_tool_calls: 20, max_output_tokens: 4000,
               max_input_tokens: 200000}
version: 1
"""


def loaded(tmp_path: Path, **files: str) -> Bundle:
    folder = tmp_path / "-".join(files)
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return Bundle.load(folder, a_catalog())


def test_the_digest_does_not_depend_on_the_layout(tmp_path: Path) -> None:
    first = loaded(tmp_path, first=FIRST.replace("It is {data_class}.", '"It is {data_class}."'))
    same = loaded(tmp_path, same=SAME)
    assert same.content() == first.content()
    assert same.hash == first.hash


def test_nor_on_the_files_that_its_rules_stand_in(tmp_path: Path) -> None:
    text = FIRST.replace("It is {data_class}.", '"It is {data_class}."')
    head, _, rules = text.partition("rules:\n")
    kept, _, other = rules.partition("  - id: other")
    apart = loaded(tmp_path, z=f"{head}rules:\n{kept}", a=f"version: 1\nrules:\n  - id: other{other}")
    assert apart.hash == loaded(tmp_path, whole=text).hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"a  b"', '"a b"'),
        ("gamma, beta", "gamma"),
        ("0.50", "0.51"),
        ("Another.", "Another one."),
        ("id: other", "id: others"),
        ("max_attempts: 6", "max_attempts: 5"),
    ],
)
def test_the_digest_depends_on_everything_said(tmp_path: Path, old: str, new: str) -> None:
    text = FIRST.replace("It is {data_class}.", '"It is {data_class}."')
    assert old in text
    assert loaded(tmp_path, a=text.replace(old, new, 1)).hash != loaded(tmp_path, b=text).hash


def test_what_is_kept_of_a_bundle_is_the_bundle() -> None:
    shipped = Policy.load(CONFIG, ENVIRON)
    assert Bundle.from_content(shipped.bundle.content()).hash == shipped.bundle.hash
    assert [rule.place for rule in Bundle.from_content(shipped.bundle.content()).rules if rule.place] == []


def directions(before: Bundle, after: Bundle) -> list[tuple[str, str, str]]:
    return [(it.what, it.change, it.direction) for it in diff(before, after)]


@pytest.mark.parametrize(
    ("old", "new", "direction"),
    [
        ({"min_quality": 0.5}, {"min_quality": 0.6}, "narrower"),
        ({"tools_allowed": ["a"]}, {}, "wider"),
        ({"allow_regions": ["eu"]}, {"allow_regions": ["eu", "us"]}, "wider"),
        ({"deny_providers": ["beta"]}, {"deny_providers": ["alpha"]}, "other"),
    ],
)
def test_a_changed_rule_permits_less_more_or_other_things(old: Any, new: Any, direction: str) -> None:
    changed = directions(
        a_bundle(a_rule("r", "size(tools) > 0", **old)), a_bundle(a_rule("r", "size(tools) > 0", **new))
    )
    assert changed == [("rule r", "changed", direction)]


def test_differences_are_told_field_by_field() -> None:
    before = a_bundle(a_rule("gone"), a_rule("r", "size(tools) > 0", deny_providers=["alpha", "beta"]))
    after = a_bundle(a_rule("come"), a_rule("r", "size(tools) > 1", deny_providers=["beta", "gamma"]), max_attempts=2)
    assert directions(before, before) == []
    assert directions(before, after) == [
        ("defaults of background", "changed", "narrower"),
        ("defaults of batch", "changed", "narrower"),
        ("rule come", "added", "narrower"),
        ("rule gone", "removed", "wider"),
        ("rule r", "changed", "other"),
    ]
    assert diff(before, after)[0].lines == ("max_attempts: 2 instead of 6",)
    assert diff(before, after)[-1].lines == (
        "when: size(tools) > 1 instead of size(tools) > 0",
        "deny_providers: without alpha and with gamma",
    )
