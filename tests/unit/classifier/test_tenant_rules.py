"""Whose rules a job is classified by, and what happens to a job whose tenant's rules cannot be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from support.jobs import job
from support.tenants import Nobody, some_tenants

from schemas.codes import DataClass
from schemas.job import Job
from services.classifier.tenant_rules import TenantRules
from services.detect import OwnRules
from services.tenancy import Tenants

RULES = (
    "types: {{t_{name}: personal}}\npatterns: [{{id: {name}, type: t_{name}, regex: '\\b{word}\\b', confidence: 1}}]"
)


@dataclass
class Told:
    """What was counted and logged."""

    counted: list[str] = field(default_factory=list)
    logged: list[dict[str, Any]] = field(default_factory=list)

    @property
    def telemetry(self) -> Any:
        """As a stage's."""
        events = SimpleNamespace(labels=lambda name: SimpleNamespace(inc=lambda: self.counted.append(name)))
        log = SimpleNamespace(error=lambda event, **fields: self.logged.append({"event": event, **fields}))
        return SimpleNamespace(events=events, log=log)


def having(**words: str) -> Tenants:
    """Return tenants that look for a word each."""
    return some_tenants(
        **{
            tenant: {"rules": [{"file": f"{tenant}.yaml", "content": RULES.format(name=tenant, word=word)}]}
            for tenant, word in words.items()
        }
    )


def found(rules: TenantRules, tenant: str, text: str) -> set[str]:
    return {found["type"] for found in rules.in_force()(Job.model_validate(job(text, tenant=tenant))).findings}


def test_rules_are_their_tenants_and_follow_the_version_in_force() -> None:
    nobody = Nobody(having(acme="quux", other="zork"))
    rules = TenantRules(nobody, Told().telemetry)
    assert found(rules, "acme", "quux zork") == {"t_acme"}
    assert found(rules, "other", "quux zork") == {"t_other"}
    assert found(rules, "third", "quux zork") == set()
    nobody.current = having(acme="zork")
    assert found(rules, "acme", "quux zork") == {"t_acme"}
    assert found(rules, "acme", "quux") == set()
    assert found(rules, "other", "quux zork") == set()


def test_rules_that_stay_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    real = OwnRules.compiled.__func__  # type: ignore[attr-defined]

    def counting(cls: type[OwnRules], contents: Any) -> OwnRules:
        contents = list(contents)
        compiled.extend(name for name, _ in contents)
        made: OwnRules = real(cls, contents)
        return made

    monkeypatch.setattr(OwnRules, "compiled", classmethod(counting))
    nobody = Nobody(having(acme="quux"))
    rules = TenantRules(nobody, Told().telemetry)
    for other in ("zork", "zork", "xyzzy"):
        found(rules, "acme", "quux")
        nobody.current = having(acme="quux", other=other)
    found(rules, "acme", "quux")
    found(rules, "other", "quux")
    assert compiled == ["acme.yaml", "other.yaml"]


def test_a_slice_has_one_version_of_the_rules() -> None:
    nobody = Nobody(having(acme="quux"))
    rules = TenantRules(nobody, Told().telemetry)
    classify = rules.in_force()
    nobody.current = having()
    (finding,) = classify(Job.model_validate(job("quux"))).findings
    assert finding["type"] == "t_acme"


def test_rules_that_cannot_be_used_make_the_strictest_class_and_are_told_of() -> None:
    told = Told()
    broken = some_tenants(acme={"rules": [{"file": "a.yaml", "content": "validators: new in a later release"}]})
    rules = TenantRules(Nobody(broken), told.telemetry)
    for _ in range(2):
        classification = rules.in_force()(Job.model_validate(job("Call jo@example.com", data_class="public")))
        assert classification.features["data_class"] == DataClass.REGULATED
        assert {found["type"] for found in classification.findings} == {"email"}
        assert classification.detectors_failed == ["own_rules:OwnRulesError"]
    assert told.counted == ["detector_failed"] * 2
    assert "jo@example.com" not in str(told.logged)
    assert [logged["event"] for logged in told.logged].count("a tenant's rules cannot be used") == 2
