"""Secrets: by a vendor's prefix, by assignment, in words and commands; and what only stands where one would."""

from __future__ import annotations

import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.detect import analyse
from services.detect.rules import pattern_files, type_groups
from services.detect.secrets import SECRETS

PICK = random.Random(8)
VENDORS = [
    pattern
    for file in pattern_files()
    for pattern in file.patterns
    if pattern.type == "api_key" and pattern.validator == "token" and pattern.extend and not pattern.ignore_case
]


def made(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Return a random value, made when the test runs so that no scanner takes this file for a leak."""
    return "".join(PICK.choices(alphabet, k=length))


def credentials(text: str) -> list[str]:
    groups = type_groups()
    return [text[found.start : found.end] for found in analyse(text).findings if groups[found.type] == "credential"]


@pytest.mark.parametrize("name", ["stripe_key", "gitlab_token", "npm_token", "digitalocean_token", "huggingface_token"])
def test_vendors_are_known(name: str) -> None:
    assert name in {pattern.id for pattern in VENDORS}


@pytest.mark.parametrize(
    ("prefix", "length", "alphabet"),
    [
        ("glp" + "at-", 20, "abcdEFGH0123456789"),
        ("sk_" + "live_", 24, string.ascii_letters + string.digits),
        ("np" + "m_", 36, string.ascii_letters + string.digits),
        ("do" + "p_v1_", 64, "0123456789abcdef"),
        ("shp" + "at_", 32, "0123456789abcdef"),
        ("hv" + "s.", 28, string.ascii_letters + string.digits),
        ("lin_" + "api_", 40, string.ascii_letters + string.digits),
        ("dap" + "i", 32, "0123456789abcdef"),
    ],
)
def test_a_vendor_s_key_is_found_whole(prefix: str, length: int, alphabet: str) -> None:
    key = prefix + made(length, alphabet)
    assert credentials(f"use {key}, then") == [key]


@pytest.mark.parametrize(
    "before",
    [
        'api_key = "',
        "client_secret: ",
        "DB_PASSWORD=",
        "export AUTH_TOKEN=",
        "?access_token=",
        "datadog_app = '",
        "Bearer ",
    ],
)
def test_a_value_behind_a_name_is_found(before: str) -> None:
    value = "q7" + made(30)
    assert credentials(before + value + {'"': '"', "'": "'"}.get(before[-1], "")) == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("the password is Tr0ub4dor&3, ok", "Tr0ub4dor&3"),
        ("Das Passwort lautet: Sommer-2031x", "Sommer-2031x"),
        ("mysql -u root --password=Zx81!abcd", "Zx81!abcd"),
        ("curl -u admin:Zx81abcd https://x.org", "Zx81abcd"),
        ("Server=db;User=sa;Password=Zx81!abcd;", "Zx81!abcd"),
    ],
)
def test_passwords_in_words_and_commands(text: str, value: str) -> None:
    assert value in credentials(text)


@pytest.mark.parametrize(
    "text",
    [
        "password: ${DB_PASSWORD}",
        'password = os.environ["DB_PASSWORD"]',
        "api_key = process.env.API_KEY",
        'token = get_token("session")',
        "API_KEY=your_api_key_here",
        "secret: <redacted>",
        "password=********",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "integrity: sha512-" + "a" * 86,
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "id: 123e4567-e89b-12d3-a456-426614174000",
        "-----BEGIN " + "PRIVATE KEY-----",
        "public_key = " + "ab12" * 10,
        "The password must have eight characters.",
        "Enter your password: then press enter",
        "primaryKey=customer_identifier_42",
    ],
)
def test_what_stands_where_a_secret_would_is_left_alone(text: str) -> None:
    assert credentials(text) == []


@pytest.mark.parametrize("name", sorted(SECRETS))
@given(value=st.text(max_size=60))
def test_no_check_raises(name: str, value: str) -> None:
    assert SECRETS[name](value) in (True, False)


def test_every_vendor_s_rule_is_bounded() -> None:
    for pattern in VENDORS:
        assert re.compile(pattern.extend or "")
        assert pattern.min_length <= pattern.max_length
