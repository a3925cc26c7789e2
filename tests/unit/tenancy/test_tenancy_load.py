"""The file of the tenants: what it may say, and that everything wrong in it is named with its place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from tenancy_samples import some_tenants

from schemas.codes import DataClass
from services.policy import PolicyError
from services.tenancy import Tenants
from services.tenancy.load import load

CONFIG = Path(__file__).resolve().parents[3] / "config"


def read(folder: Path, content: str) -> Tenants:
    (folder / "tenants.yaml").write_text(content)
    return load(folder)


def test_the_shipped_file_has_a_tenant_of_each_kind() -> None:
    tenants = load(CONFIG)
    apart, signed = tenants.get("example-apart"), tenants.get("example-signed")
    assert apart is not None
    assert signed is not None
    assert (apart.topics, apart.in_doubt_cap_usd, apart.regions) == (True, Decimal("0.50"), ("local",))
    assert tenants.retention_days("example-apart", DataClass.REGULATED) == 7
    assert tenants.retention_days("example-signed", DataClass.REGULATED) is None
    assert tenants.retention_days("nobody", DataClass.REGULATED) is None
    assert [key.secret for key in signed.keys] == ["EXAMPLE_SIGNED_1"]
    assert signed.budgets.monthly_usd == Decimal(100)


@pytest.mark.parametrize(
    ("tenants", "words"),
    [
        ("{Acme: {}}", r"tenants.Acme"),
        ("{acme: {topic: true}}", r"tenants.acme.topic: there is no field 'topic' here"),
        ("{acme: {keys: [{id: k}]}}", r"tenants.acme.keys.0.secret: is missing"),
        ("{acme: {keys: [{id: k, secret: ../x}]}}", r"tenants.acme.keys.0.secret"),
        ("{acme: {keys: [{id: a, secret: A}, {id: b, secret: B}, {id: c, secret: C}]}}", r"tenants.acme.keys"),
        ("{acme: {keys: [{id: k, secret: A}]}, b: {keys: [{id: k, secret: B}]}}", r"key id k is given more than once"),
        ("{acme: {keys: [{id: a, secret: A}]}, b: {keys: [{id: b, secret: A}]}}", r"secret A is that of acme and of b"),
        ("{acme: {in_doubt_cap_usd: -1}}", r"tenants.acme.in_doubt_cap_usd"),
        ("{acme: {retention_days: {secret: 1}}}", r"tenants.acme.retention_days.secret"),
        ("{acme: {retention_days: {public: 0}}}", r"tenants.acme.retention_days.public"),
        ("{acme: {regions: []}}", r"tenants.acme.regions"),
        ("{acme: {}, acme: {}}", r"tenants.yaml:2:21: the key 'acme' is repeated"),
        ("[acme]", r"tenants: Input should be"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_path(tmp_path: Path, tenants: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words) as raised:
        read(tmp_path, f"version: 1\ntenants: {tenants}\n")
    assert str(tmp_path / "tenants.yaml") in str(raised.value)
    assert raised.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"tenants.yaml: cannot be read"):
        load(tmp_path)


def test_a_version_is_named_by_what_it_says_and_read_again_from_its_bytes(tmp_path: Path) -> None:
    one = read(tmp_path, "version: 1\ntenants: {a: {regions: [eu]}, b: {in_doubt_cap_usd: 0.5}}")
    same = read(tmp_path, "# as before\ntenants:\n  b: {in_doubt_cap_usd: 0.5}\n  a: {regions: [eu]}\nversion: 1")
    other = read(tmp_path, "version: 1\ntenants: {a: {regions: [us]}}")
    assert one.digest() == same.digest() != other.digest()
    for tenants in (one, other, some_tenants()):
        assert Tenants.model_validate_json(tenants.content()).digest() == tenants.digest()


def test_rules_come_with_their_content_and_are_part_of_the_version(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    rules = tmp_path / "rules" / "a.yaml"
    rules.write_text("types: {t: personal}\npatterns: [{id: p, type: t, regex: 'A-\\d+', confidence: 1}]")
    tenants = read(tmp_path, "version: 1\ntenants: {a: {rules: [rules/a.yaml]}}")
    (held,) = tenants.rules("a")
    assert (held.file, held.content) == ("rules/a.yaml", rules.read_text())
    again = Tenants.model_validate_json(tenants.content())
    assert (again, again.digest()) == (tenants, tenants.digest())
    rules.write_text(rules.read_text() + "\n# changed")
    assert load(tmp_path).digest() != tenants.digest()


def test_tenants_without_rules_are_named_as_before_there_were_any() -> None:
    assert b"rules" not in some_tenants().content()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.yaml", None, r"missing.yaml: No such file"),
        ("../x.yaml", None, r"tenants.a.rules.0.file"),
        ("a/../../x.yaml", None, r"tenants.a.rules.0.file: leads out of the folder"),
        (
            "bad.yaml",
            b"patterns: [{id: p, type: ghost, regex: a, confidence: 1}]",
            r"bad.yaml: .*undeclared types: ghost",
        ),
        ("bad.yaml", b"\xff", r"bad.yaml: is not UTF-8"),
        ("bad.yaml", b"#" * 70_000, r"bad.yaml: content: "),
    ],
)
def test_rules_that_cannot_be_used_are_refused_with_their_file(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PolicyError, match=words) as raised:
        read(tmp_path, f"version: 1\ntenants: {{a: {{rules: [{name}]}}}}\n")
    assert raised.value.hint
