"""Check digits and shapes of numbers that ``python-stdnum`` does not know, or holds to a registry's list.

Each takes the value as it stands in the text, separators included, and answers yes or no; none raises for any string.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Final

from stdnum import luhn
from stdnum.bitcoin import is_valid as bitcoin_is_valid
from stdnum.fr import siren, siret
from stdnum.iso7064 import mod_11_2
from stdnum.it import iva
from stdnum.mx import rfc
from stdnum.th import pin
from stdnum.za import idnr

# Where every other digit counts double: as a Luhn digit from the left.
_DOUBLING: Final = (1, 2)
_ICAO: Final = (7, 3, 1)
_VIN_VALUES: Final = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789", strict=True))
_VIN_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_TW_VALUES: Final = "ABCDEFGHJKLMNPQRSTUVXYWZIO"
_SG_LETTERS: Final = {
    "S": "JZIHGFEDCBA",
    "T": "JZIHGFEDCBA",
    "F": "XWUTRQPNMLK",
    "G": "XWUTRQPNMLK",
    "M": "XWUTRQPNJLK",
}
_SG_OFFSETS: Final = {"S": 0, "T": 4, "F": 0, "G": 4, "M": 3}
_NO_ILLNESS: Final = frozenset(
    {
        "diploma",
        "aroma",
        "idioma",
        "genoma",
        "axioma",
        "oklahoma",
        "roma",
        "soma",
        "diagnosis",
        "prognosis",
        "osmosis",
        "mitosis",
        "meiosis",
        "photosynthesis",
        "hypnosis",
        "metamorphosis",
        "symbiosis",
        "apoptosis",
        "phagocytosis",
        "homeopathy",
        "empathy",
        "sympathy",
        "osteopathy",
        "telepathy",
        "naturopathy",
        "academia",
        "bohemia",
        "sapiosis",
        "apotheosis",
        "anastomosis",
        "idiopathy",
        "nostalgia",
        "bibliophilia",
    }
)
_PLATE_WORDS: Final = frozenset({"AM", "AN", "AS", "AT", "BE", "BY", "DO", "GO", "HE", "ME", "MY", "NO", "OF", "PM"})


def _compact(value: str) -> str:
    return re.sub(r"[\W_]", "", value).upper()


def _ascii_digits(value: str) -> str:
    return value if value.isascii() and value.isdigit() else ""


def _cross_sum(number: int) -> int:
    return number // 10 + number % 10


def aba_routing(value: str) -> bool:
    """Hold an American routing number to its weights 3, 7, 1."""
    digits = _ascii_digits(_compact(value))
    return (
        len(digits) == 9
        and sum(int(d) * (3, 7, 1)[at % 3] for at, d in enumerate(digits)) % 10 == 0
        and digits != "0" * 9
    )


def au_medicare(value: str) -> bool:
    """Hold an Australian Medicare card number to its check digit, the ninth."""
    digits = _ascii_digits(_compact(value))
    if len(digits) not in (10, 11):
        return False
    weights = (1, 3, 7, 9, 1, 3, 7, 9)
    return sum(int(d) * w for d, w in zip(digits, weights, strict=False)) % 10 == int(digits[8])


def bitcoin_address(value: str) -> bool:
    """Hold a Bitcoin address to its checksum: base58, or bech32 of either version."""
    if value.lower().startswith("bc1p"):
        return len(value) == 62
    return bool(bitcoin_is_valid(value))


def cn_resident_id(value: str) -> bool:
    """Hold a Chinese resident's number to its date and check digit; the list of birth places has gaps."""
    value = value.upper()
    if not re.fullmatch(r"[0-9]{17}[0-9X]", value):
        return False
    return _is_date(int(value[6:10]), int(value[10:12]), int(value[12:14])) and bool(mod_11_2.is_valid(value))


def condition(value: str) -> bool:
    """Accept words that end as illnesses do, those excepted that end so for other reasons."""
    return value.lower() not in _NO_ILLNESS


def de_health_insurance(value: str) -> bool:
    """Hold a German health insurance number to the check digit of its letter and eight digits."""
    value = _compact(value)
    if len(value) != 10 or not _ascii_digits(value[1:]) or not "A" <= value[0] <= "Z":
        return False
    digits = f"{ord(value[0]) - 64:02d}{value[1:9]}"
    return sum(_cross_sum(int(d) * _DOUBLING[at % 2]) for at, d in enumerate(digits)) % 10 == int(value[9])


def de_social_security(value: str) -> bool:
    """Hold a German pension insurance number to its date and check digit."""
    value = _compact(value)
    if not re.fullmatch(r"[0-9]{8}[A-Z][0-9]{3}", value):
        return False
    day, month = int(value[2:4]), int(value[4:6])
    if not 1 <= month <= 12 or not (1 <= day <= 31 or 51 <= day <= 81):
        return False
    digits = f"{value[:8]}{ord(value[8]) - 64:02d}{value[9:11]}"
    weights = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
    return sum(_cross_sum(int(d) * w) for d, w in zip(digits, weights, strict=True)) % 10 == int(value[11])


def de_lanr(value: str) -> bool:
    """Hold a German physician's number to its check digit, the seventh."""
    digits = _ascii_digits(_compact(value))
    if len(digits) != 9 or len(set(digits)) < 2:
        return False
    total = sum(int(d) * (4, 9)[at % 2] for at, d in enumerate(digits[:6]))
    return (10 - total % 10) % 10 == int(digits[6])


def dea_number(value: str) -> bool:
    """Hold an American prescriber's number to its check digit."""
    value = _compact(value)
    digits = _ascii_digits(value[2:])
    if len(digits) != 7:
        return False
    total = sum(map(int, digits[0:5:2])) + 2 * sum(map(int, digits[1:6:2]))
    return total % 10 == int(digits[6])


def fr_siret(value: str) -> bool:
    """Hold a French company's or establishment's number to its Luhn digit."""
    return bool(siret.is_valid(value) or siren.is_valid(value))


def hk_identity_card(value: str) -> bool:
    """Hold a Hong Kong identity card number to the check character in its brackets."""
    found = re.fullmatch(r"([A-Z]{1,2})([0-9]{6})\(([0-9A])\)", value.upper())
    if not found:
        return False
    letters, digits, check = found.groups()
    values = [36 if len(letters) == 1 else ord(letters[0]) - 55, ord(letters[-1]) - 55, *map(int, digits)]
    total = sum(v * w for v, w in zip(values, range(9, 1, -1), strict=True)) + int(check, 16)
    return total % 11 == 0


def icao_check_digit(value: str) -> bool:
    """Hold a document number to its last digit, by the weights 7, 3, 1 of machine-readable travel documents."""
    value = _compact(value)
    if len(value) < 2 or not value.isascii() or not value.isalnum() or not value[-1].isdigit():
        return False
    total = sum(int(character, 36) * _ICAO[at % 3] for at, character in enumerate(value[:-1]))
    return total % 10 == int(value[-1]) and any(character.isdigit() for character in value[1:-1])


def it_vat(value: str) -> bool:
    """Hold an Italian VAT number to its Luhn digit; zeros are none."""
    digits = _compact(value)
    return bool(iva.is_valid(digits)) and len(set(digits)) > 2


def kr_resident(value: str) -> bool:
    """Hold a Korean resident's number to its date; the check digit ended with the numbers issued since 2020."""
    digits = _ascii_digits(_compact(value))
    if len(digits) != 13:
        return False
    year = (1900 if digits[6] in "1256" else 2000) + int(digits[:2])
    return _is_date(year, int(digits[2:4]), int(digits[4:6])) and len(set(digits)) > 3


def mac_address(value: str) -> bool:
    """Accept hardware addresses, the unset and the broadcast ones excepted."""
    return len(set(_compact(value))) > 1


def mx_rfc(value: str) -> bool:
    """Hold a Mexican taxpayer's number to its date."""
    return bool(rfc.is_valid(value, validate_check_digits=False))


def sg_nric(value: str) -> bool:
    """Hold a Singaporean identity number to its check letter."""
    value = value.upper()
    if not re.fullmatch(r"[STFGM][0-9]{7}[A-Z]", value):
        return False
    total = _SG_OFFSETS[value[0]] + sum(int(d) * w for d, w in zip(value[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    return _SG_LETTERS[value[0]][total % 11] == value[8]


def th_tnin(value: str) -> bool:
    """Hold a Thai number to its check digit and to the numbers of the provinces."""
    return 10 <= int(_ascii_digits(_compact(value))[1:3] or 0) <= 96 and bool(pin.is_valid(value))


def tw_identity_card(value: str) -> bool:
    """Hold a Taiwanese identity card number to its check digit."""
    value = value.upper()
    if not re.fullmatch(r"[A-Z][0-9]{9}", value):
        return False
    area = _TW_VALUES.index(value[0]) + 10
    digits = f"{area}{value[1:]}"
    return sum(int(d) * w for d, w in zip(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True)) % 10 == 0


def uk_driving_licence(value: str) -> bool:
    """Hold a British licence number to its length, its padding and its month and day of birth."""
    value = value.upper()
    if not re.fullmatch(r"[A-Z]{1,5}9{0,4}[0-9]{6}[A-Z9]{2}[0-9A-Z][A-Z]{2}", value) or len(value) != 16:
        return False
    return int(value[6:8]) % 50 in range(1, 13) and int(value[8:10]) in range(1, 32)


def uk_plate(value: str) -> bool:
    """Accept plates of the current kind; two letters that are a word, then a number and three letters, are prose."""
    return value[:2].upper() not in _PLATE_WORDS


def us_npi(value: str) -> bool:
    """Hold an American provider number to its Luhn digit, behind the prefix of health industry cards."""
    digits = _ascii_digits(_compact(value))
    return len(digits) == 10 and bool(luhn.is_valid("80840" + digits))


def vehicle_identification_number(value: str) -> bool:
    """Hold a vehicle's number to its check character, the ninth."""
    value = value.upper()
    if len(value) != 17 or not value.isascii() or value.isdigit() or value.isalpha():
        return False
    values = [int(_VIN_VALUES.get(c, c)) if c in _VIN_VALUES or c.isdigit() else -1000 for c in value]
    total = sum(v * w for v, w in zip(values, _VIN_WEIGHTS, strict=True))
    return total >= 0 and "0123456789X"[total % 11] == value[8]


def za_id_number(value: str) -> bool:
    """Hold a South African identity number to its date, citizenship and Luhn digit."""
    return bool(idnr.is_valid(value))


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


CHECKS: Final[dict[str, Callable[[str], bool]]] = {
    check.__name__: check
    for check in (
        *(
            aba_routing,
            au_medicare,
            bitcoin_address,
            cn_resident_id,
            condition,
            de_health_insurance,
            de_social_security,
            de_lanr,
            dea_number,
        ),
        *(fr_siret, hk_identity_card, icao_check_digit, it_vat, kr_resident, mac_address, mx_rfc, sg_nric),
        *(th_tnin, tw_identity_card, uk_driving_licence, uk_plate, us_npi, vehicle_identification_number, za_id_number),
    )
}
