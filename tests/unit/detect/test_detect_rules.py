"""The rule files, the validators they name, and the list of findings they end in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.detect import rules
from services.detect.engine import Expression, Scanner
from services.detect.findings import Finding, capped, without_overlaps
from services.detect.rules import DataClassRules, data_class_rules, pattern_files, type_groups
from services.detect.validators import _OWN, validator

NAMED = sorted({p.validator for file in pattern_files() for p in file.patterns if p.validator} | set(_OWN))


def finding(type_: str, start: int, end: int, confidence: float = 0.5) -> Finding:
    return Finding(type_, start, end, confidence, "rule")


def test_pattern_ids_are_unique_and_no_type_is_without_a_pattern() -> None:
    patterns = [p for file in pattern_files() for p in file.patterns]
    assert len({p.id for p in patterns}) == len(patterns)
    assert {p.type for p in patterns} | {"person", "region"} == set(type_groups())


def test_data_class_rules_name_existing_types() -> None:
    assert set(data_class_rules().types) <= set(type_groups())


@pytest.mark.parametrize("name", NAMED)
@given(value=st.one_of(st.text(max_size=40), st.text(alphabet="0123456789 -+./:@AX", max_size=30)))
def test_no_validator_raises(name: str, value: str) -> None:
    assert validator(name)(value) in (True, False)


def test_an_unknown_validator_is_refused() -> None:
    with pytest.raises(ValueError, match="nonesuch"):
        validator("nonesuch")


def test_a_pattern_of_an_undeclared_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    source = b"patterns: [{id: a, type: ghost, regex: a, confidence: 1}]"
    monkeypatch.setattr(rules, "_sources", lambda: {"patterns_x.yaml": source})
    with pytest.raises(ValueError, match="undeclared"):
        pattern_files.__wrapped__()


def test_a_class_outside_the_order_is_refused() -> None:
    with pytest.raises(ValidationError, match="secretish"):
        DataClassRules.model_validate({"order": ["public"], "default": "secretish", "groups": {}, "types": {}})


def test_an_expression_that_does_not_compile_is_named() -> None:
    with pytest.raises(ValueError, match=r"a\(\?=b\)"):
        Scanner([Expression("fine", True, True), Expression("a(?=b)", True, True)])


def test_the_gravest_of_overlapping_findings_is_kept() -> None:
    mild, grave, apart = finding("mild", 0, 10, 0.9), finding("grave", 5, 8, 0.1), finding("mild", 10, 12)
    kept = without_overlaps([mild, grave, apart], lambda found: (int(found.type == "grave"),))
    assert kept == [grave, apart]


SPANS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.integers(1, 9)), max_size=30)


@given(SPANS)
def test_findings_kept_do_not_overlap_and_no_other_would_fit(spans: list[tuple[str, int, int]]) -> None:
    findings = [finding(type_, start, start + length) for type_, start, length in spans]
    kept = without_overlaps(findings, lambda found: (ord(found.type),))
    assert all(left.end <= right.start for left, right in pairwise(kept))
    for found in findings:
        assert any(found.start < other.end and other.start < found.end for other in kept)
    if findings:
        assert max(found.type for found in kept) == max(found.type for found in findings)


@given(SPANS, st.integers(3, 10))
def test_a_cap_keeps_every_type(spans: list[tuple[str, int, int]], limit: int) -> None:
    findings = without_overlaps([finding(t, s, s + n) for t, s, n in spans], lambda _: (0,))
    kept = capped(findings, limit)
    assert len(kept) == min(limit, len(findings))
    assert {found.type for found in kept} == {found.type for found in findings}
    assert kept == sorted(kept, key=lambda found: found.start)
