"""Redaction: clean afterwards, reversible, and the same value behind the same placeholder."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.detect import analyse, data_class, redact, redacted, redaction, restore

PIECES = [
    *(
        "jo@example.com",
        "4111 1111 1111 1111",
        "AKIA" + "J5QRT2WXYZ7ABCDE",
        "MRN: A12345",
        "Maria Schneider",
        "March 3, 2021",
    ),
    *(
        "+44 20 7946 0018",
        "Lakeside Hospital in Denver, CO",
        "password = 'x8Kd03mZq71L'",
        "[EMAIL_1]",
        "1",
        " ",
        "\r\n",
    ),
    *("👩\u200d🚀", "e\u0301", "12 Main Street", "DE89370400440532013000", ":", "call ", "é", "has diabetes"),
]
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=10).map("".join)


def test_values_become_placeholders_and_come_back() -> None:
    text = "jo@example.com wrote to al@example.com; jo@example.com got no answer."
    made = redact(text, analyse(text).findings)
    assert made.text == "[EMAIL_1] wrote to [EMAIL_2]; [EMAIL_1] got no answer."
    assert restore("To [EMAIL_2], not [EMAIL_9]", made.placeholders) == "To al@example.com, not [EMAIL_9]"


def test_a_placeholder_that_the_text_has_already_is_not_used_again() -> None:
    made = redacted("[EMAIL_1] is not jo@example.com")
    assert made.text == "[EMAIL_1] is not [EMAIL_2]"
    assert restore(made.text, made.placeholders) == "[EMAIL_1] is not jo@example.com"


@given(TEXTS)
@settings(deadline=None, max_examples=200)
def test_a_redacted_text_is_clean_and_can_be_restored(text: str) -> None:
    made = redacted(text)
    analysis = analyse(made.text)
    assert data_class({found.type for found in analysis.findings}, None, analysis.truncated) == "internal"
    assert restore(made.text, made.placeholders) == text
    assert redacted(text) == made


def test_kept_types_stay() -> None:
    assert redacted("Maria Schneider, jo@example.com", keep={"person"}).text == "Maria Schneider, [EMAIL_1]"


def test_a_text_that_cannot_be_looked_at_is_left_out_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_MOST_ROUNDS", 0)
    made = redacted("jo@example.com")
    assert made.text == "[TEXT_1]"
    assert restore(made.text, made.placeholders) == "jo@example.com"
