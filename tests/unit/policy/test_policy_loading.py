"""The shipped configuration loads and does what it says; what is wrong in a file is named with file and rule."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from policy_builders import CONFIG, ENVIRON, a_job

from schemas.decision import Decision, NoRoute
from services.detect.rules import lexicon
from services.policy import Policy, PolicyError, explain
from services.policy.probes import ORDINARY_JOB


@pytest.fixture(scope="module")
def shipped() -> Policy:
    return Policy.load(CONFIG, ENVIRON)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


def decided(policy: Policy, **job: Any) -> Decision:
    decision = policy.decide(a_job(**job))
    assert isinstance(decision, Decision), decision
    return decision


def test_tasks_have_the_names_that_the_classifier_gives_them(shipped: Policy) -> None:
    named = shipped.catalog.content()["expected_output_tokens"].keys() - {"default"}
    assert named <= set(lexicon("tasks").labels)
    assert ORDINARY_JOB["task"] in named


def test_everything_shipped_is_plainly_simulated(shipped: Policy) -> None:
    assert shipped.catalog.providers
    for provider in shipped.catalog.providers.values():
        assert provider.simulated
        assert provider.name.startswith("simulator")
        assert provider.base_url == "http://127.0.0.1:4000/v1"
    assert all(name.startswith("sim-") for _, name in shipped.catalog.models)


def test_production_jobs_have_a_fallback_at_another_provider(shipped: Policy) -> None:
    decision = decided(shipped)
    assert (decision.route.name, decision.route.alias) == ("simulator/sim-ok@local", "prod-stable")
    assert [fallback.route.name for fallback in decision.fallbacks] == ["simulator-b/sim-ok@local"]


@pytest.mark.parametrize("alias", ["sim-ok", "sim-slow", "sim-refuse", "sim-fail", "sim-malformed"])
def test_a_demo_alias_pins_its_model(shipped: Policy, alias: str) -> None:
    decision = decided(shipped, alias=alias)
    assert (decision.route.provider, decision.route.model, decision.fallbacks) == ("simulator", alias, [])


def test_embeddings_have_a_route(shipped: Policy) -> None:
    assert decided(shipped, operation="embed").route.model == "sim-embed"


@pytest.mark.parametrize(("latency_class", "hours", "attempts"), [("background", 48, 6), ("batch", 72, 3)])
def test_defaults_by_latency_class(shipped: Policy, latency_class: str, hours: int, attempts: int) -> None:
    budgets = decided(shipped, latency_class=latency_class).budgets
    assert (budgets.deadline_ms, budgets.max_attempts) == (hours * 3_600_000, attempts)


@pytest.mark.parametrize("data_class", ["confidential", "regulated"])
def test_sensitive_data_is_kept_nowhere_and_meets_no_external_tool(shipped: Policy, data_class: str) -> None:
    decision = decided(shipped, data_class=data_class, tools=["kb_retrieve", "web_search"], findings={"email": 2})
    assert decision.policy.retention == "zero"
    assert decision.policy.tools_allowed == ["kb_retrieve"]
    assert f"The data is {data_class}: 2 e-mail addresses." in [reason.text for reason in decision.reasons]


@pytest.mark.parametrize("sign", [{"injection_suspected": True}, {"untrusted_documents": 1}])
def test_untrusted_content_is_handled_strictly(shipped: Policy, sign: dict[str, Any]) -> None:
    policy = decided(shipped, tools=["kb_retrieve", "web_search"], **sign).policy
    assert (policy.safety_mode, policy.tools_allowed) == ("strict", ["kb_retrieve"])


def test_tools_with_consequences_need_approval(shipped: Policy) -> None:
    tools = ["crm_write", "deploy_service", "email_send", "kb_retrieve", "payment_create", "refund_order"]
    policy = decided(shipped, tools=tools).policy
    assert policy.tools_allowed == tools
    assert policy.requires_approval_for == [tool for tool in tools if tool != "kb_retrieve"]


@pytest.mark.parametrize("domain", ["medical", "legal", "finance"])
def test_high_stakes_answers_are_strict_and_cited(shipped: Policy, domain: str) -> None:
    policy = decided(shipped, domains=[domain]).policy
    assert (policy.safety_mode, policy.require_citations) == ("strict", True)


def test_an_ordinary_job_is_not_restricted(shipped: Policy) -> None:
    policy = decided(shipped).policy
    assert (policy.safety_mode, policy.retention, policy.require_citations) == ("standard", "any", False)


def test_without_the_simulator_nothing_can_be_called_and_the_reason_says_so() -> None:
    decision = Policy.load(CONFIG, {}).decide(a_job())
    assert isinstance(decision, NoRoute)
    assert "WAYBILL_SIMULATOR_URL" in next(out.text for out in decision.ruled_out if "sim-ok" in out.route)


def test_hashes_follow_content_and_not_the_address(shipped: Policy) -> None:
    elsewhere = Policy.load(CONFIG, {"WAYBILL_SIMULATOR_URL": "http://127.0.0.1:9"})
    assert decided(elsewhere) == decided(shipped)
    assert Policy.load(CONFIG, {}).catalog.hash != shipped.catalog.hash


def test_an_explanation_names_route_money_reasons_and_what_was_ruled_out(shipped: Policy) -> None:
    job = a_job(data_class="confidential", findings={"iban": 1}, tools=["email_send", "kb_retrieve"])
    text = explain(decided(shipped, **job.model_dump()), job)
    for words in (
        "because it holds 1 IBAN",
        "the model sim-ok (version simulated-1) of the provider simulator",
        "All attempts together may cost 1.00 US dollars.",
        "may use only kb_retrieve",
        "(rule confidential-restricted)",
        "simulator/sim-slow@local: not among the targets of the alias prod-stable",
    ):
        assert words in text
    nothing = explain(shipped.decide(a_job(alias="nowhere")), a_job(alias="nowhere"))
    assert "No model was allowed to handle this job. There is no alias 'nowhere'." in nothing


BROKEN = [
    (
        "policies/x.yaml",
        "rules: [{id: r, description: d, when: 'data_clas == \"x\"', effects: {}}]",
        r"x.yaml:2:40: rule r: .*data_clas, .*did you mean data_class\?",
    ),
    (
        "policies/x.yaml",
        "rules: [{id: r, description: d, when: 'true &&', effects: {}}]",
        r"x.yaml:2:47: rule r: .*not CEL",
    ),
    (
        "policies/x.yaml",
        "rules: [{id: r, description: d, when: 'nope(task)', effects: {}}]",
        r"x.yaml:2:40: rule r: .*nope",
    ),
    (
        "policies/x.yaml",
        "rules: [{id: r, description: d, when: 'tools.exists(a, tools.exists(b, a == b))', effects: {}}]",
        r"x.yaml:2:61: rule r: a macro",
    ),
    (
        "policies/x.yaml",
        "rules: [{id: r, description: d, when: 'true', effects: {retension: zero}}]",
        r"x.yaml:2:57: rule r: effects.retension: .*did you mean 'retention'\?",
    ),
    (
        "policies/x.yaml",
        "rules: [{id: r, description: d, when: 'true', effects: {deny_providers: [opnai]}}]",
        "rule r: .*opnai",
    ),
    ("policies/x.yaml", "rules: [{id: job, description: d, when: 'true', effects: {}}]", "taken by Waybill"),
    ("policies/x.yaml", "rules: [{id: high-stakes-domain, description: d, when: 'true', effects: {}}]", "used twice"),
    (
        "policies/x.yaml",
        "rules: [{id: r, description: d, when: 'true', reason: {code: c, text: '{tools.__class__}'}, effects: {}}]",
        "rule r: the text speaks of",
    ),
    ("policies/default.yaml", "rules: []", "no defaults for latency class background and batch"),
    ("policies/x.yaml", "rules: []\nrules: []", "x.yaml:3:1: the key 'rules' is repeated"),
    ("policies/x.yaml", "rules: [", "x.yaml:3:1: expected"),
    (
        "aliases.yaml",
        "default: a\naliases: {b: {targets: [{provider: simulator, model: sim-ok}]}}",
        "default alias 'a'",
    ),
    (
        "aliases.yaml",
        "default: a\naliases: {a: {targets: [{provider: simulator, model: gone}]}}",
        "alias a: .*simulator/gone",
    ),
]


@pytest.mark.parametrize(("name", "content", "words"), BROKEN)
def test_what_is_wrong_is_named(folder: Path, name: str, content: str, words: str) -> None:
    (folder / name).write_text(f"version: 1\n{content}\n")
    with pytest.raises(PolicyError, match=words) as raised:
        Policy.load(folder, ENVIRON)
    assert str(folder) in str(raised.value)
    assert raised.value.hint


def test_a_model_of_no_provider_is_named(folder: Path) -> None:
    catalog = folder / "catalog.yaml"
    catalog.write_text(catalog.read_text().replace("provider: simulator-b", "provider: elsewhere"))
    with pytest.raises(PolicyError, match=r"catalog.yaml:\d+:5: model sim-ok: .*'elsewhere'"):
        Policy.load(folder, ENVIRON)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "aliases.yaml").unlink()
    with pytest.raises(PolicyError, match=r"aliases.yaml: cannot be read: No such file"):
        Policy.load(folder, ENVIRON)


def test_an_address_without_its_variable_is_not_an_error() -> None:
    provider = Policy.load(CONFIG, {}).catalog.provider("simulator")
    assert provider.base_url is None
    assert provider.unavailable is not None
