"""What the pattern rules find, what they leave alone, and that positions are those of the text given."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.detect import analyse
from services.detect.patterns import MAX_FINDINGS, pattern_detector
from services.detect.rules import pattern_files, type_groups
from services.detect.validators import validator

# Put together here, so that no scanner takes this file for a leak.
RANDOM = "a8Kd03mZq71LxTbe5NfW"
FOUND = {
    "email": ["jo@example.com", "first.last+tag@mail.example.co.uk", "jo@bücher.example.com"],
    "phone": ["+44 20 7946 0018", "(212) 555-0123", "212-555-0123", "020 7946 0018", "+33 1 70 18 99 00"],
    "credit_card": ["4111 1111 1111 1111", "5555555555554444", "3782 822463 10005", "6011-1111-1111-1117"],
    "iban": ["GB29 NWBK 6016 1331 9268 19", "DE89370400440532013000", "fr1420041010050500013m02606"],
    "ip_address": ["192.168.10.254", "2001:db8::8a2e:370:7334", "fe80::1ff:fe23:4567:890a"],
    "us_ssn": ["536-22-1847", "536 22 1847"],
    "uk_nino": ["AB 12 34 56 C", "AB123456C"],
    "es_dni": ["54362315K"],
    "es_nie": ["X2482300W"],
    "fr_nir": ["2 95 10 99 126 111 93"],
    "it_codice_fiscale": ["RCCMNL83S18D969H"],
    "fi_hetu": ["131052-308T"],
    "se_personnummer": ["880320-0016", "198803200016"],
    "br_cpf": ["390.533.447-05"],
    "in_aadhaar": ["2341 2341 2346"],
    "ca_sin": ["123 456 782"],
    "pl_pesel": ["44051401359"],
    "uk_nhs_number": ["943 476 5870"],
    "aws_access_key": ["AKIA" + "J5QRT2WXYZ7ABCDE"],
    "github_token": ["ghp_" + RANDOM + RANDOM[:16], "github_pat_" + RANDOM + "zz_" + RANDOM * 3],
    "openai_api_key": ["sk-" + RANDOM * 2, "sk-proj-" + RANDOM + "_x-" + RANDOM],
    "anthropic_api_key": ["sk-ant-api03-" + RANDOM * 4 + "-AA"],
    "slack_token": ["xoxb-" + "123456789012-" + RANDOM],
    "google_api_key": ["AIza" + (RANDOM * 2)[:35]],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqbyJ9.c2lnbmF0dXJl"],
    "private_key": ["-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK=\n-----END RSA PRIVATE KEY-----"],
}
IN_CONTEXT = [
    ("date_of_birth", "Date of birth: ", "24/12/1981"),
    ("date_of_birth", "She was born on ", "March 3rd, 1990"),
    ("date_of_birth", "geboren am ", "24.12.1981"),
    ("phone", "Fax number: ", "555 0199 23"),
    ("credit_card", "block card no ", "501800000009"),
    ("us_ssn", "his SSN is ", "536221847"),
    ("de_tax_id", "Steuer-ID: ", "36 574 261 809"),
    ("nl_bsn", "BSN ", "111222333"),
    ("au_tfn", "TFN: ", "123 456 782"),
    ("medical_record_number", "MRN: ", "AB-0048293"),
    ("health_plan_number", "Member ID: ", "XQF123456789"),
    ("url_password", "postgres://app:", "tr0ub4dor"),
    ("bearer_token", "Authorization: Bearer ", RANDOM * 2),
    ("secret_assignment", 'db_password = "', "correct-horse-9"),
    ("secret_assignment", "SERVICE_TOKEN=", RANDOM),
    ("aws_secret_key", "aws_secret_access_key = ", RANDOM * 2),
]
CLOSERS = {"url_password": "@db.example.com/app", "secret_assignment": '"'}
NEAR_MISSES = [
    "4111 1111 1111 1112",  # Luhn
    "411111111111111",  # one digit short
    "94111 1111 1111 1111",  # part of a longer number
    "GB28 NWBK 6016 1331 9268 19",  # check digits
    "XX29 NWBK 6016 1331 9268 19",  # no such country
    "256.1.1.1",
    "1.2.3.4.5",
    "std::vector<int>::iterator",
    "12:30:45",
    "536-22-18471",
    "000-12-3456",
    "666-12-3456",
    "54362315L",
    "X2482300A",
    "390.533.447-06",
    "2341 2341 2347",
    "131052-308U",
    "jo@localhost",
    "@example.com",
    "jo@-example.com",
    "07-15-2023",
    "2023-07-15 10:00:00",
    "$212 555",
    "born yesterday",
    "AKIA" + "SHORT",
    "AKIA" + "J5QRT2WXYZ7ABCDEF" * 2,
    "sk-learn-extensions-for-everyone",
    "https://user:password@localhost/x",
    "https://user:${PASSWORD}@localhost/x",
    'password = "<your-password>"',
    'password = "************"',
    "token=get_token_from_vault()",
    "Bearer tokens are described in the next chapter",
]


def spans(text: str, type_: str) -> list[str]:
    return [text[found.start : found.end] for found in analyse(text).findings if found.type == type_]


@pytest.mark.parametrize(("type_", "value"), [(type_, value) for type_, values in FOUND.items() for value in values])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("see ", ", then"),
        ("né 👩\u200d🚀 e\u0301:\r\n", "\r\n👍🏽"),
        ("(", ")"),
        ("“", "”"),
        ("日本語 ", "。"),
    ],
)
def test_an_identifier_is_found_where_it_stands(type_: str, value: str, before: str, after: str) -> None:
    assert spans(before + value + after, type_) == [value]


@pytest.mark.parametrize(("type_", "before", "value"), IN_CONTEXT)
@pytest.mark.parametrize("prefix", ["", "👩\u200d🚀 é\r\n"])
def test_words_before_a_value_stay_outside_its_span(type_: str, before: str, value: str, prefix: str) -> None:
    text = prefix + before + value + CLOSERS.get(type_, " .")
    if before.endswith("="):
        text = prefix + before + value
    assert spans(text, type_) == [value]


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_what_only_looks_like_an_identifier_is_left_alone(text: str) -> None:
    grave = {"personal", "health", "credential"}
    assert [found for found in analyse(f"x {text} y").findings if type_groups()[found.type] in grave] == []


def test_types_with_a_single_shape() -> None:
    hook = "https://hooks.slack.com/services/" + "T0123ABCD/B0123ABCD/" + RANDOM
    assert spans(f"post to {hook} now", "slack_webhook") == [hook]
    assert spans("ITIN 912-90-3456.", "us_itin") == ["912-90-3456"]


@given(
    value=st.sampled_from([(type_, value) for type_, values in FOUND.items() for value in values]),
    before=st.text(max_size=60),
    after=st.text(max_size=60),
)
@settings(deadline=None)
def test_positions_are_code_points_whatever_stands_around(value: tuple[str, str], before: str, after: str) -> None:
    type_, identifier = value
    text = f"{before}\n{identifier}\n{after}"
    assert identifier in spans(text, type_)


SHAPES = st.lists(
    st.one_of(
        st.sampled_from([value for values in FOUND.values() for value in values]),
        st.sampled_from(
            ["tel ", "DOB ", "SSN ", "MRN ", "card ", "👩\u200d🚀", "e\u0301", "\r\n", " ", "-", ".", ":", "@"]
        ),
        st.text(alphabet="0123456789abGB :.-+@/é日\r\n", max_size=12),
    ),
    max_size=12,
).map("".join)


@given(SHAPES)
@settings(deadline=None, max_examples=300)
def test_every_span_holds_what_its_rule_says(text: str) -> None:
    checks = {p.id: p.validator for file in pattern_files() for p in file.patterns}
    findings = analyse(text).findings
    for found in findings:
        assert 0 <= found.start < found.end <= len(text)
        check = checks[found.detector]
        assert check is None or validator(check)(text[found.start : found.end])
    assert all(left.end <= right.start for left, right in pairwise(findings))


@given(SHAPES)
@settings(deadline=None)
def test_the_same_text_gives_the_same_findings(text: str) -> None:
    assert analyse(text) == analyse(text)


def test_more_findings_than_the_cap_are_truncated_with_every_type_kept() -> None:
    text = "ab@example.com " * 1_500 + FOUND["aws_access_key"][0]
    analysis = analyse(text)
    assert analysis.truncated
    assert len(analysis.findings) == MAX_FINDINGS
    assert {found.type for found in analysis.findings} == {"email", "aws_access_key"}


@pytest.mark.parametrize(
    "unit", ["1", "[", "a.", "ab@example.com ", "4111 1111 ", "GB29 NWBK ", "-----BEGIN PRIVATE KEY-----\n", "日1 "]
)
def test_work_on_hostile_text_is_bounded(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    findings, _ = pattern_detector().find(text, text.encode())
    assert len(findings) <= MAX_FINDINGS


def test_a_scan_that_reaches_its_limit_says_so() -> None:
    text = "ab@example.com " * 30_000 + FOUND["aws_access_key"][0]
    assert analyse(text).truncated
