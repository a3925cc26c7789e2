"""Words for people: what was found in a job, amounts, and the texts that rules give as their reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from string import Formatter
from typing import Any, Final

from schemas.codes import DataClass
from schemas.features import Features

_NAMES: Final[dict[str, tuple[str, str]]] = {
    "email": ("e-mail address", "e-mail addresses"),
    "phone": ("phone number", "phone numbers"),
    "iban": ("IBAN", "IBANs"),
    "credit_card": ("payment card number", "payment card numbers"),
    "ip_address": ("IP address", "IP addresses"),
    "date_of_birth": ("date of birth", "dates of birth"),
    "person": ("name of a person", "names of persons"),
    "medical_record_number": ("medical record number", "medical record numbers"),
    "health_plan_number": ("health plan number", "health plan numbers"),
    "uk_nhs_number": ("British health service number", "British health service numbers"),
    "us_ssn": ("US social security number", "US social security numbers"),
    "us_itin": ("US taxpayer number", "US taxpayer numbers"),
    "uk_nino": ("British national insurance number", "British national insurance numbers"),
    "de_tax_id": ("German tax number", "German tax numbers"),
    "au_tfn": ("Australian tax number", "Australian tax numbers"),
    "ca_sin": ("Canadian social insurance number", "Canadian social insurance numbers"),
    "jwt": ("web token", "web tokens"),
    "url_password": ("password in an address", "passwords in addresses"),
    "secret_assignment": ("written-down secret", "written-down secrets"),
    **{
        kind: (f"{nation} identity number", f"{nation} identity numbers")
        for kind, nation in {
            "br_cpf": "Brazilian",
            "es_dni": "Spanish",
            "es_nie": "Spanish foreigner's",
            "fi_hetu": "Finnish",
            "fr_nir": "French",
            "in_aadhaar": "Indian",
            "it_codice_fiscale": "Italian",
            "nl_bsn": "Dutch",
            "pl_pesel": "Polish",
            "se_personnummer": "Swedish",
        }.items()
    },
    **{
        kind: (name, f"{name}s")
        for kind, name in {
            "anthropic_api_key": "Anthropic API key",
            "aws_access_key": "AWS access key",
            "aws_secret_key": "AWS secret key",
            "bearer_token": "bearer token",
            "github_token": "GitHub token",
            "google_api_key": "Google API key",
            "openai_api_key": "OpenAI API key",
            "private_key": "private key",
            "slack_token": "Slack token",
            "slack_webhook": "Slack webhook",
        }.items()
    },
}
"""Singular and plural of the types of findings; a type that is not here is spoken of by its own name."""


def joined(words: Iterable[str]) -> str:
    """Return words as a sentence lists them: ``a, b and c``."""
    *head, last = list(words) or ["nothing"]
    return f"{', '.join(head)} and {last}" if head else last


def either(words: Iterable[str]) -> str:
    """Return words as a sentence offers them: ``a, b or c``."""
    *head, last = list(words) or ["nothing"]
    return f"{', '.join(head)} or {last}" if head else last


def times(number: int) -> str:
    """Return how often, in words."""
    return {1: "once", 2: "twice"}.get(number, f"{number:,} times")


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def findings_in_words(findings: Mapping[str, int]) -> str:
    """Return counts by type as ``2 e-mail addresses and 1 IBAN``, the most frequent first."""
    found = sorted(
        ((kind, count) for kind, count in findings.items() if count > 0), key=lambda item: (-item[1], item[0])
    )
    return joined(counted(count, *_NAMES.get(kind, (kind.replace("_", " "),))) for kind, count in found)


def evidence(features: Features) -> str:
    """Return what speaks for a job's data class: what was found in it, else who or what said so."""
    if any(features.findings.values()):
        return findings_in_words(features.findings)
    if features.declared_data_class == features.data_class:
        return "the sender declared it so"
    if features.domains:
        return f"it is about {joined(sorted(features.domains))} matters"
    if features.data_class in (DataClass.CONFIDENTIAL, DataClass.REGULATED):
        return "it was recognised as such"
    return "nothing sensitive was found in it"


def dollars(amount: Decimal) -> str:
    """Return an amount of US dollars for a sentence."""
    return f"{amount:f} US dollars"


def duration(milliseconds: int) -> str:
    """Return a duration in the largest unit that it is a whole number of."""
    for unit, length in (("hour", 3_600_000), ("minute", 60_000), ("second", 1_000)):
        if milliseconds >= length and milliseconds % length == 0:
            return counted(milliseconds // length, unit)
    return counted(milliseconds, "millisecond")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return joined(sorted(str(item) for item in value))
    if isinstance(value, dict):
        return joined(f"{key}: {_plain(item)}" for key, item in sorted(value.items()))
    return "not given" if value is None else str(value)


_COMPUTED: Final[dict[str, Callable[[Features], str]]] = {
    "evidence": evidence,
    "findings": lambda features: findings_in_words(features.findings),
}


class Wording:
    """The text of a rule's reason, with ``{feature}`` places; ``{findings}`` and ``{evidence}`` are put in words."""

    def __init__(self, text: str) -> None:
        """Take the text; raises ``ValueError`` in words when a place is not a feature."""
        try:
            pieces = list(Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"the text {text!r} has braces that do not match") from error
        self._pieces: list[tuple[str, str | None]] = []
        for literal, field, form, conversion in pieces:
            if field is not None and field not in Features.model_fields and field not in _COMPUTED:
                raise ValueError(f"the text speaks of {{{field}}}, which no job has")
            if form or conversion:
                raise ValueError(f"the text formats {{{field}}}; it has to stand alone in its braces")
            self._pieces.append((literal, field))
        self.fixed: str | None = None if any(field for _, field in self._pieces) else text.format()

    def render(self, features: Features) -> str:
        """Return the text for one job."""
        return self.fixed or "".join(
            literal
            + (
                ""
                if field is None
                else _COMPUTED.get(field, lambda job, name=field: _plain(getattr(job, name)))(features)
            )
            for literal, field in self._pieces
        )
