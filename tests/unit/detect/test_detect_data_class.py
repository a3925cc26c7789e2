"""The data class: raised by what is found, never lowered."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.detect import analyse, data_class
from services.detect.rules import data_class_rules, type_groups

ORDER = ["public", "internal", "confidential", "regulated"]
TYPES = st.sets(st.sampled_from(sorted(type_groups())))
DECLARED = st.one_of(st.none(), st.sampled_from(ORDER))
TEXTS = st.lists(
    st.sampled_from(
        ["jo@example.com", "4111 1111 1111 1111", "943 476 5870", "AKIA" + "J5QRT2WXYZ7ABCDE", "MRN: A12345", "hello",
         " ", "SSN ", "1", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "postgres://a:", "b0b5@x.org",
         "é"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


def rank(text: str) -> int:
    analysis = analyse(text)
    return ORDER.index(data_class({found.type for found in analysis.findings}, "public", analysis.truncated))


def test_the_order_is_the_one_that_policies_know() -> None:
    assert data_class_rules().order == ORDER


@pytest.mark.parametrize(
    ("types", "declared", "expected"),
    [
        ([], None, "internal"),
        ([], "public", "public"),
        ([], "regulated", "regulated"),
        (["email"], "public", "confidential"),
        (["email"], None, "confidential"),
        (["github_token"], "internal", "confidential"),
        (["email", "us_ssn"], None, "regulated"),
        (["medical_record_number"], None, "regulated"),
        (["of_a_later_release"], "public", "regulated"),
    ],
)
def test_class_of_types(types: list[str], declared: str | None, expected: str) -> None:
    assert data_class(types, declared, truncated=False) == expected


def test_an_analysis_that_is_not_complete_gets_the_strictest_class() -> None:
    assert data_class([], "public", truncated=True) == "regulated"


def test_an_unknown_declared_class_is_refused() -> None:
    with pytest.raises(ValueError, match="secretish"):
        data_class([], "secretish", truncated=False)


@given(types=TYPES, declared=DECLARED, truncated=st.booleans())
def test_a_declared_class_is_only_raised(types: set[str], declared: str | None, truncated: bool) -> None:
    result = data_class(types, declared, truncated)
    assert ORDER.index(result) >= ORDER.index(declared or "public")


@given(types=TYPES, more=TYPES, declared=DECLARED, truncated=st.booleans())
def test_more_types_never_lower_the_class(
    types: set[str], more: set[str], declared: str | None, truncated: bool
) -> None:
    fewer = data_class(types, declared, truncated)
    assert ORDER.index(data_class(types | more, declared, truncated)) >= ORDER.index(fewer)


@given(text=TEXTS, before=TEXTS, after=TEXTS)
@settings(deadline=None, max_examples=300)
def test_more_text_never_lowers_the_class(text: str, before: str, after: str) -> None:
    assert rank(f"{before}\n{text}\n{after}") >= rank(text)
