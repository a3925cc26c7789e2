"""Checks that a matched value is what its pattern says: check digits, number plans, and what a secret looks like.

A rule names a validator: one of :data:`_OWN`, or any module of ``python-stdnum`` as ``stdnum.<module>``. Each takes the
value as it stands in the text and answers yes or no; none raises for any string.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import date
from importlib import import_module
from typing import Final

import phonenumbers
from stdnum import iban, luhn
from stdnum.fi import hetu

from services.detect.check_digits import CHECKS
from services.detect.secrets import SECRETS

Validator = Callable[[str], bool]

# Regions whose national numbers are recognised as people write them, without the country's code.
_PHONE_REGIONS: Final = ("US", "GB", "DE", "FR", "IT", "ES", "AU", "IN", "TR", "BR", "NL", "SE", "JP", "ZA")
_MOBILE_REGIONS: Final = ("PH", "TR", "GB", "FR", "DE", "SE")

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

_MEASURED: Final = re.compile(
    r"\b(?:minutes?|hours?|days?|weeks?|years?|percent|miles?|km|times|people|of|the|and|in|is)\b"
)

_DATE_LIKE: Final = re.compile(r"\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d{2}|\d{3}-\d{2}-\d{4}")

_NUMBERED: Final = re.compile(
    r"(?!(?:19|20)\d\d$|\d{1,3}-(?:year|month|week|day))#?(?:[A-Za-z]{1,8}[-/]?){0,3}\d[A-Za-z0-9]*(?:[-/][A-Za-z0-9]+){0,4}"
)
_YEARS: Final = re.compile(r"^(?:19|20)\d\d-(?:(?:19|20)?\d\d$|\d\d-)|^\d{1,2}-\d{1,2}-\d{4}$")

_NINO_PREFIX: Final = re.compile(r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]", re.IGNORECASE)


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
    compact = re.sub(r"[ -]", "", value).upper()
    if not compact.isascii() or not compact.isalnum() or len(compact) < 15:
        return False
    # The check digits first: the registry of countries is a hundred times as slow to ask.
    if int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 != 1:
        return False
    return (value.isupper() or " " not in value) and iban.is_valid(value, check_country=False)


def phone(value: str) -> bool:
    """Ask the numbering plans: how long numbers of the country after ``+`` may be, else those of usual regions."""
    if _DATE_LIKE.fullmatch(value):
        return False
    if value.startswith("+"):
        return _phone(value, None, phonenumbers.is_possible_number)
    return any(_phone(value, region, phonenumbers.is_valid_number) for region in _PHONE_REGIONS)


def phone_mobile(value: str) -> bool:
    """Accept a number that is a mobile one in a region where people write it in one piece."""
    return len(set(value)) > 3 and any(_phone(value, region, _is_mobile) for region in _MOBILE_REGIONS)


def phone_turkey(value: str) -> bool:
    """Accept a number of the Turkish plan, whose groups of three, three, two and two nobody else writes."""
    return _phone(value, "TR", phonenumbers.is_valid_number)


def _is_mobile(number: phonenumbers.PhoneNumber) -> bool:
    return phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE


def _phone(value: str, region: str | None, test: Callable[[phonenumbers.PhoneNumber], bool]) -> bool:
    try:
        return test(phonenumbers.parse(value, region))
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


def street_address(value: str) -> bool:
    """Accept a house number and a street, not a count of things or a time ("2 way", "5 minutes drive")."""
    words = value.split()
    return len(words) >= 3 and any(word[0].isupper() for word in words[1:-1]) and not _MEASURED.search(value)


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


def record_number(value: str) -> bool:
    """Accept what a register numbers: digits, perhaps behind letters; no year, no measure, no ordinal."""
    return _NUMBERED.fullmatch(value) is not None


def document_number(value: str) -> bool:
    """Accept letters and at least five digits."""
    return sum(map(str.isdigit, value)) >= 5


def plan_number(value: str) -> bool:
    """Accept a record's number that cannot be a date or a small count: five characters with three digits."""
    return record_number(value) and sum(map(str.isdigit, value)) >= 3 and len(value) >= 5 and not _YEARS.search(value)


_OWN: Final[dict[str, Validator]] = (
    CHECKS
    | SECRETS
    | {
        check.__name__: check
        for check in (
            birth_date,
            document_number,
            email,
            fi_hetu,
            has_digit,
            iban_number,
            ip_address,
            payment_card,
            phone,
            phone_in_context,
            phone_mobile,
            phone_turkey,
            plan_number,
            record_number,
            street_address,
            uk_nino,
            us_ssn,
        )
    }
)


def validator(name: str) -> Validator:
    """Return the validator of that name; raises ``ValueError`` for a name that is none."""
    if name in _OWN:
        return _OWN[name]
    if name.startswith("stdnum."):
        is_valid: Validator = import_module(name).is_valid
        return is_valid
    raise ValueError(f"unknown validator {name!r}; known are {', '.join(sorted(_OWN))} and stdnum.<module>")
