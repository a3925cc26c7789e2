"""Labels by rules: what a tool's name says, and what follows from all that is in a job."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.detect import OwnRules, OwnRulesError, Situation, analyse, explained, labelled, tool_scope
from services.detect.rules import data_class_rules, label_rules, tool_rules, type_groups
from services.detect.rules.labels import LabelRule

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
OWN = "types: {t: personal}\npatterns: [{id: p, type: t, regex: ab, confidence: 1, "
ORDERS = {
    "data_class": data_class_rules().order,
    "risk_tier": label_rules().risk_tier.order,
    "action_class": label_rules().action_class.order,
}


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("get_weather", "read"),
        ("kb_search", "read"),
        ("searchDocuments", "read"),
        ("calculator", "read"),
        ("list_payments", "read"),
        ("get_display_name", "read"),
        ("send_mail", "write"),
        ("crm.updateContact", "write"),
        ("get_or_create_user", "write"),
        ("frobnicate", "write"),
        ("display", "write"),
        ("123", "write"),
        ("run_python", "execute"),
        ("code_interpreter", "execute"),
        ("bash", "execute"),
        ("make_payment", "human_gate"),
        ("payment", "human_gate"),
        ("payInvoice", "human_gate"),
        ("stripe_refund", "human_gate"),
        ("wire_transfer", "human_gate"),
        ("k8s-deploy", "human_gate"),
        ("DELETE_USER", "human_gate"),
        ("read_and_delete", "human_gate"),
        ("dropTable", "human_gate"),
    ],
)
def test_what_a_name_says(name: str, scope: str) -> None:
    assert tool_scope(name) == scope


@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True), scope=st.sampled_from(tool_rules().order)
)
def test_an_own_rule_never_makes_a_known_tool_less_careful(name: str, scope: Any) -> None:
    order = tool_rules().order
    plain, own = tool_scope(name), tool_scope(name, {scope: ("*",)})
    assert own == scope or order.index(own) >= order.index(plain)
    if scope == "read" and plain != tool_rules().unknown:
        assert own == plain


def test_an_own_rule_says_what_an_unknown_tool_does() -> None:
    own = {"read": ("acme_*",), "human_gate": ("acme_pump",)}
    assert tool_scope("acme_frob", own) == "read"  # type: ignore[arg-type]
    assert tool_scope("acme_pump", own) == "human_gate"  # type: ignore[arg-type]
    assert tool_scope("acme_delete", own) == "human_gate"  # type: ignore[arg-type]


def sets(*values: str) -> Any:
    return st.frozensets(st.sampled_from(values), max_size=3)


SITUATIONS = st.builds(
    Situation,
    types=st.frozensets(st.sampled_from(sorted(type_groups())), max_size=3),
    declared=st.sampled_from([None, *ORDERS["data_class"]]),
    truncated=st.booleans(),
    trust=sets("trusted", "internal", "web", "email", "upload", "untrusted"),
    task=st.sampled_from([None, "code", "qa"]),
    domains=sets("medical", "legal", "finance"),
    scopes=sets("read", "write", "execute", "human_gate"),
    suspected=st.booleans(),
)


@given(one=SITUATIONS, other=SITUATIONS)
def test_more_of_anything_never_lowers_a_label(one: Situation, other: Situation) -> None:
    more = one._replace(
        types=one.types | other.types,
        truncated=one.truncated or other.truncated,
        trust=one.trust | other.trust,
        domains=one.domains | other.domains,
        scopes=one.scopes | other.scopes,
        suspected=one.suspected or other.suspected,
    )
    for label, order in ORDERS.items():
        assert order.index(getattr(labelled(more), label)) >= order.index(getattr(labelled(one), label))


@given(situation=SITUATIONS)
def test_every_label_says_what_made_it(situation: Situation) -> None:
    made = labelled(situation)
    assert made.data_class_by
    assert made.risk_tier_by or made.risk_tier == "low"
    assert made.action_class_by or made.action_class == "read_only"
    assert explained(situation)[0].startswith(made.data_class)


@pytest.mark.parametrize(
    ("situation", "data_class", "risk", "action"),
    [
        (Situation(), "internal", "low", "read_only"),
        (Situation(declared="public", trust=frozenset({"internal"})), "internal", "low", "read_only"),
        (
            Situation(trust=frozenset({"internal"}), types=frozenset({"source_code"})),
            "confidential",
            "medium",
            "read_only",
        ),
        (Situation(declared="public", task="code"), "internal", "low", "read_only"),
        (Situation(domains=frozenset({"medical"})), "internal", "high", "read_only"),
        (Situation(scopes=frozenset({"write"})), "internal", "medium", "write"),
        (Situation(scopes=frozenset({"write"}), domains=frozenset({"legal"})), "internal", "high", "human_gate"),
        (Situation(trust=frozenset({"web"})), "internal", "medium", "sandbox_only"),
        (Situation(trust=frozenset({"email"}), scopes=frozenset({"read"})), "internal", "high", "sandbox_only"),
        (Situation(suspected=True), "internal", "medium", "sandbox_only"),
        (Situation(scopes=frozenset({"human_gate"}), trust=frozenset({"web"})), "internal", "high", "human_gate"),
        (Situation(truncated=True), "regulated", "high", "read_only"),
    ],
)
def test_the_rules_that_come_with_the_product(situation: Situation, data_class: str, risk: str, action: str) -> None:
    made = labelled(situation)
    assert (made.data_class, made.risk_tier, made.action_class) == (data_class, risk, action)


def test_what_is_only_guessed_raises_no_data_class() -> None:
    assert all("domains" not in rule.when and "injection" not in rule.when for rule in data_class_rules().raised)


def test_a_rule_that_asks_for_what_never_is_is_refused() -> None:
    with pytest.raises(ValidationError, match="trust are never webb"):
        LabelRule(id="a", label="high", when={"trust": ("webb",)})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[", "is not YAML"),
        ("pattern: []", "pattern: Extra inputs"),
        ("patterns: [{id: a, type: ghost, regex: a, confidence: 1}]", "undeclared types: ghost"),
        ("types: {email: trace}", "the product has already: email"),
        ("classes: {email: public}", "not its own: email"),
        ("types: {t: personal}\nclasses: {t: secretish}", "unknown data classes: secretish"),
        ("types: {t: personal}\npatterns: [{id: p, type: t, regex: 'a(?=b)', confidence: 1}]", "pattern p: "),
        (
            "types: {t: personal}\npatterns: [{id: p, type: t, regex: ab, confidence: 1, value: b}]",
            "no group named value",
        ),
        (
            "types: {t: personal}\npatterns: [{id: p, type: t, regex: ab, confidence: 1, words: ['(']}]",
            "patterns.0.words",
        ),
        (
            "types: {t: personal}\npatterns: [{id: p, type: t, regex: ab, confidence: 1, validator: stdnum.no}]",
            "pattern p",
        ),
        ("tools: {reads: [x]}", "tools.reads"),
    ],
)
def test_own_rules_that_cannot_be_used_are_refused_with_file_and_reason(content: str, reason: str) -> None:
    with pytest.raises(OwnRulesError) as raised:
        OwnRules.compiled([("fine.yaml", b"patterns: []"), ("bad.yaml", content.encode())])
    assert raised.value.file == "bad.yaml"
    assert reason in raised.value.reason


def test_an_own_type_hides_nothing_graver() -> None:
    rules = (
        "types: {long_number: trace}\nclasses: {long_number: public}\n"
        "patterns: [{id: p, type: long_number, regex: 'card [0-9 ]{16,30}', confidence: 1}]"
    )
    own = OwnRules.compiled([("own.yaml", rules.encode())])
    assert [found.type for found in analyse("card 4111 1111 1111 1111", own).findings] == ["credit_card"]
    assert [found.type for found in analyse("card 1234 5678 9012 3456", own).findings] == ["long_number"]
