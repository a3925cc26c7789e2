"""What the linter finds in bundles and catalogs, where, and what it lets pass."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from policy_builders import CONFIG, ENVIRON, a_catalog, a_job, a_model, a_policy, a_price, a_provider, a_rule

from services.policy import Catalog, Policy
from services.policy.catalog_lint import lint_catalog
from services.policy.lint import lint

WORLD = CONFIG / "policies" / "examples" / "world"


def found(policy: Policy, *jobs: Any) -> list[tuple[str, str]]:
    return [(finding.code, finding.subject) for finding in lint(policy, jobs)]


def test_what_is_shipped_has_nothing_to_find() -> None:
    shipped = Policy.load(CONFIG, ENVIRON)
    assert lint(shipped) == []
    assert lint_catalog(shipped.catalog, shipped.aliases) == []
    # Judged as if every provider could be called: that one cannot from here is no fault of a rule.
    assert lint(Policy.load(CONFIG, {})) == []


@pytest.mark.parametrize(
    "when",
    [
        'data_class == "secret"',
        "input_tokens > 10 && input_tokens < 5",
        'quality == "high" && quality == "standard"',
        "false",
        'user_tier == "gold" && user_tier == null',
    ],
)
def test_a_rule_that_no_job_meets_is_an_error(when: str) -> None:
    assert found(
        a_policy(a_rule("idle", when, strict_is="x") if False else a_rule("idle", when, human_review=True))
    ) == [("never-applies", "rule idle")]


@pytest.mark.parametrize("when", ["size(tools) >= 0", 'data_class in ["public"] || data_class != "public"', "1 < 2"])
def test_a_rule_that_every_job_meets_is_a_warning_unless_it_says_so(when: str) -> None:
    assert found(a_policy(a_rule("always", when, human_review=True))) == [("always-applies", "rule always")]
    assert found(a_policy(a_rule("always", "true", human_review=True))) == []


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ('user_tier.startsWith("gold")', "where user_tier is not given"),
        ("findings.email > 2", "where nothing of that type was found"),
    ],
)
def test_a_condition_that_may_fail_is_told_with_the_job_it_fails_on(when: str, words: str) -> None:
    findings = lint(a_policy(a_rule("risky", when, human_review=True)))
    assert [finding.code for finding in findings] == ["may-fail"]
    assert words in findings[0].text


@pytest.mark.parametrize(
    "when",
    [
        'user_tier != null && user_tier.startsWith("gold")',
        '"email" in findings && findings.email > 2',
        "task_confidence < 0.4",
        'tools.exists(tool, tool.startsWith("deploy"))',
        'task.matches("^gen.*")',
        'model == "small" || alias == "first"',
        "size(tools) > 3",
        "size(findings) >= 2 && size(domains) == 0",
        "regions != null && size(regions) == 2",
    ],
)
def test_an_ordinary_condition_passes(when: str) -> None:
    assert found(a_policy(a_rule("fine", when, human_review=True))) == []


def test_a_rule_without_effects_takes_nothing_away() -> None:
    assert found(a_policy(a_rule("idle", "size(tools) > 1"))) == [("no-effect", "rule idle")]


def test_what_nothing_finds_cannot_be_redacted() -> None:
    asks = a_policy(a_rule("asks", 'data_class == "regulated"', redact=["personal", "iban", "passwords"]))
    assert found(asks) == [("unknown-finding", "rule asks")]
    assert found(a_policy(a_rule("asks", 'data_class == "regulated"', redact=["personal", "iban"]))) == []


def test_rules_that_contradict_each_other_where_both_apply() -> None:
    here = a_rule("here", 'data_class == "regulated"', allow_regions=["us"])
    there = a_rule("there", 'quality == "high"', deny_providers=["gamma"])
    codes = found(a_policy(here, there))
    assert ("contradiction", "rule here") in codes
    apart = a_rule("there", 'data_class == "public"', deny_providers=["gamma"])
    assert "contradiction" not in [code for code, _ in found(a_policy(here, apart))]


def test_a_rule_that_another_one_makes_superfluous() -> None:
    wide = a_rule("wide", 'data_class != "public"', retention="zero", human_review=True)
    narrow = a_rule("narrow", 'data_class == "regulated"', retention="zero")
    assert found(a_policy(wide, narrow)) == [("superfluous", "rule narrow")]
    assert found(a_policy(wide, a_rule("other", 'data_class == "public"', retention="zero"))) == []


def test_of_two_rules_that_say_the_same_one_is_superfluous() -> None:
    same = {"when": "size(tools) > 1", "human_review": True}
    assert found(a_policy(a_rule("a", **same), a_rule("b", **same))) == [("superfluous", "rule b")]


def test_a_rule_that_no_model_satisfies() -> None:
    codes = found(a_policy(a_rule("dreamer", "injection_suspected", min_quality=1.0)))
    assert codes == [("no-route", "rule dreamer")]


def test_a_class_without_a_route_names_the_rule_that_leaves_it_none() -> None:
    rule = a_rule("apart", 'data_class == "regulated"', allow_models=["beta/small"])
    policy = a_policy(rule, a_rule("kept", "true", retention="zero"))
    findings = [finding for finding in lint(policy) if finding.code == "class-without-route"]
    assert [finding.subject for finding in findings] == ["rule apart", "rule kept"]
    assert "regulated chat jobs in background" in findings[0].text


def test_a_job_that_occurs_is_tried_as_well() -> None:
    policy = a_policy(a_rule("picky", 'tenant == "acme"', min_quality=0.99, deny_providers=["alpha"]))
    assert ("class-without-route", "rule picky") in found(policy, a_job())
    assert ("class-without-route", "rule picky") not in found(policy, a_job(tenant="other"))


def test_findings_stand_in_the_order_of_the_files_and_say_what_to_do(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CONFIG, tmp_path / "config"))
    (folder / "policies" / "more.yaml").write_text(
        "version: 1\n"
        "rules:\n"
        "  - {id: b, description: d, when: 'quality == \"best\"', effects: {human_review: true}}\n"
        "  - {id: a, description: d, when: 'size(tools) >= 0', effects: {human_review: true}}\n"
    )
    findings = lint(Policy.load(folder, ENVIRON))
    assert [(finding.code, finding.place.line, finding.place.column) for finding in findings if finding.place] == [
        ("never-applies", 3, 5),
        ("always-applies", 4, 5),
    ]
    assert str(findings[0]).startswith(f"{folder / 'policies' / 'more.yaml'}:3:5: error: rule b: ")
    assert all(finding.hint for finding in findings)


def test_a_limit_for_a_route_that_does_not_exist() -> None:
    bundle = a_policy().bundle.content() | {"routes": [{"route": "nowhere/*", "max_cost_usd": "1"}]}
    policy = a_policy()
    limited = policy.with_bundle(type(policy.bundle).from_content(bundle))
    assert found(limited) == [("unknown-route", "routes nowhere/*")]


def test_what_is_probably_not_meant_in_a_catalog() -> None:
    providers = [
        a_provider("alpha", base_url="http://10.0.0.1/v1", secret="A", hosting="private", retention_days=30),
        a_provider("empty"),
        a_provider("gone", unavailable="it has no address"),
    ]
    later = {"since": "2027-01-01", "input": "9", "why": "announced"}
    models = [
        a_model("alpha", "full", max_output_tokens=100_000),
        a_model("alpha", "mute", max_output_tokens=0, tool_reliability=0.9),
        a_model("gone", "x", tool_reliability=0.9, price=a_price(1, 2).model_copy(update={"overrides": ()})),
        a_model(
            "alpha",
            "dearer",
            capabilities={"chat"},
            price=type(a_price(1, 2)).model_validate({"as_of": "2026-01-01", "input": "1", "overrides": [later]}),
        ),
    ]
    policy = a_policy(catalog=Catalog(providers, models, {"default": 1}))
    some = policy.aliases.model_copy(update={"aliases": {"everything": policy.aliases.aliases["first"]}})
    codes = {(finding.code, finding.subject) for finding in lint_catalog(policy.catalog, some)}
    assert codes == {
        ("secret-in-the-clear", "provider alpha"),
        ("keeps-data", "provider alpha"),
        ("no-models", "provider empty"),
        ("not-callable", "provider gone"),
        ("no-room", "model alpha/full"),
        ("reliability-unknown", "model alpha/full"),
        ("no-answers", "model alpha/mute"),
        ("later-price", "model alpha/dearer"),
        ("behind-no-alias", "model alpha/mute"),
        ("behind-no-alias", "model alpha/dearer"),
        ("behind-no-alias", "model gone/x"),
    }


def test_the_world_of_the_examples_has_nothing_to_find() -> None:
    catalog = Catalog.load(WORLD / "catalog.yaml", {})
    policy = Policy.load(CONFIG, ENVIRON)
    aliases = type(policy.aliases).load(WORLD / "aliases.yaml", catalog)
    assert lint_catalog(catalog, aliases) == []
    assert {model.name for model in a_catalog().models.values()}
