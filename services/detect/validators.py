"""Checks that a matched value is what its pattern says: check digits, number plans, and what a secret looks like.

A rule names a validator: one of :data:`_OWN`, or any module of ``python-stdnum`` as ``stdnum.<module>``. Each takes the
value as it stands in the text and answers yes or no; none raises for any string.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from importlib import import_module
from typing import Final

import phonenumbers
from stdnum import iban, luhn
from stdnum.fi import hetu

Validator = Callable[[str], bool]

# Regions whose national numbers are recognised as people write them, without the country's code.
_PHONE_REGIONS: Final = ("US", "GB", "DE", "FR", "IT", "ES", "AU", "IN")

# Numbers that payment networks issue: how they begin and how long they are.
_CARDS: Final = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]|1800|2131"), (15,)),
    (re.compile(r"30[0-5]|309|3[689]"), (14, 16)),
    (re.compile(r"35"), (16,)),
    (re.compile(r"6011|64[4-9]|65|62"), (16, 17, 18, 19)),
    (re.compile(r"50|5[6-8]|6[37]"), (16, 18, 19)),
)

_DATE_LIKE: Final = re.compile(r"\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d{2}|\d{3}-\d{2}-\d{4}")

_NINO_PREFIX: Final = re.compile(r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]", re.IGNORECASE)

# What stands where a secret would: templates, masks, and the words of documentation.
_PLACEHOLDER: Final = re.compile(
    r"[<$%]?[{<(\[%$]|\*{3}|x{4}|\.{3}|_{4}|"
    r"^(?:your|my|the|an?|example|sample|dummy|test|fake|placeholder|redacted|none|null|true|false|undefined|password|"
    r"passwd|pass|pw|secret|token|username|user|api[_-]?key|changeme)(?:$|[_\s-])|"
    r"(?:^|[_-])(?:example|placeholder|here)(?:$|[_-])",
    re.IGNORECASE,
)


def email(value: str) -> bool:
    """Hold a mail address to the lengths and dots of RFC 5321."""
    local, _, domain = value.rpartition("@")
    return (
        0 < len(local) <= 64
        and len(domain) <= 253
        and ".." not in local
        and not local.endswith(".")
        and all(
            0 < len(label) <= 63 and label[0] != "-" and label[-1] != "-" and label.replace("-", "").isalnum()
            for label in domain.split(".")
        )
    )


def payment_card(value: str) -> bool:
    """Hold a card number to its network's length and to the Luhn digit."""
    digits = re.sub(r"[ -]", "", value)
    known = any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _CARDS)
    return known and luhn.is_valid(digits)


def iban_number(value: str) -> bool:
    """Hold an IBAN to its country's length and to the check digits; a lower-case one must be written without blanks."""
    return (value.isupper() or " " not in value) and iban.is_valid(value, check_country=False)


def phone(value: str) -> bool:
    """Ask the numbering plans: the one named after ``+``, else those of the usual regions; a date is no number."""
    if _DATE_LIKE.fullmatch(value):
        return False
    if value.startswith("+"):
        return _valid_phone(value, None)
    return any(_valid_phone(value, region) for region in _PHONE_REGIONS)


def _valid_phone(value: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(value, region))
    except phonenumbers.NumberParseException:
        return False


def phone_in_context(value: str) -> bool:
    """Accept what some plan could hold: the words before it already say that it is a phone number."""
    digits = sum(character.isdigit() for character in value)
    return 7 <= digits <= 15 and len(set(value)) > 3


def ip_address(value: str) -> bool:
    """Accept IPv4 and IPv6 addresses; not the ``a::b`` of source code."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    if address.version == 4:
        return True
    return any(character.isdigit() for character in value) and value.count(":") >= 2 and len(value) >= 6


def us_ssn(value: str) -> bool:
    """Accept a number the Social Security Administration could have issued, its published samples excepted."""
    digits = re.sub(r"\D", "", value)
    return (
        len(digits) == 9
        and digits[:3] not in {"000", "666"}
        and digits[0] != "9"
        and digits[3:5] != "00"
        and digits[5:] != "0000"
        and digits not in {"078051120", "219099999", "123456789"}
        and len(set(digits)) > 1
    )


def fi_hetu(value: str) -> bool:
    """Hold a Finnish identity code to its date and check character; temporary ones count."""
    return bool(hetu.is_valid(value, allow_temporary=True))


def uk_nino(value: str) -> bool:
    """Hold a National Insurance number to the prefixes in use."""
    return _NINO_PREFIX.match(value) is not None


def birth_date(value: str) -> bool:
    """Accept numeric dates that exist in some order of day and month; dates with a month's name as they are."""
    numbers = [int(part) for part in re.findall(r"\d+", value)]
    if len(numbers) != 3:
        return len(numbers) == 2
    orders = (numbers, numbers[::-1], [numbers[2], numbers[0], numbers[1]])
    return any(_is_date(*order) for order in orders)


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year if year > 99 else 2000 + year, month, day)
    except (ValueError, OverflowError):  # no such day, or a number that no date holds
        return False
    return True


def has_digit(value: str) -> bool:
    """Accept values with a digit in them: record numbers, not words."""
    return any(character.isdigit() for character in value)


def secret(value: str) -> bool:
    """Accept what somebody typed as a password: no template, no mask, no word of documentation."""
    return len(value) >= 4 and len(set(value)) > 2 and _PLACEHOLDER.search(value) is None


def random_secret(value: str) -> bool:
    """Accept what a machine made: letters and digits in it, and at least 3 bits of entropy per character."""
    if _PLACEHOLDER.search(value) or not has_digit(value) or not any(character.isalpha() for character in value):
        return False
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values()) >= 3


_OWN: Final[dict[str, Validator]] = {
    check.__name__: check
    for check in (
        birth_date,
        email,
        fi_hetu,
        has_digit,
        iban_number,
        ip_address,
        payment_card,
        phone,
        phone_in_context,
        random_secret,
        secret,
        uk_nino,
        us_ssn,
    )
}


def validator(name: str) -> Validator:
    """Return the validator of that name; raises ``ValueError`` for a name that is none."""
    if name in _OWN:
        return _OWN[name]
    if name.startswith("stdnum."):
        is_valid: Validator = import_module(name).is_valid
        return is_valid
    raise ValueError(f"unknown validator {name!r}; known are {', '.join(sorted(_OWN))} and stdnum.<module>")
