"""Words for people: what was found in a job, amounts, and the texts that rules give as their reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from string import Formatter
from typing import Any, Final

from schemas.features import Features

_NAMES: Final[dict[str, tuple[str, str]]] = {
    "email": ("e-mail address", "e-mail addresses"),
    "phone": ("phone number", "phone numbers"),
    "iban": ("IBAN", "IBANs"),
    "credit_card": ("payment card number", "payment card numbers"),
    "ip": ("IP address", "IP addresses"),
    "ip_address": ("IP address", "IP addresses"),
    "ssn": ("social security number", "social security numbers"),
    "us_ssn": ("social security number", "social security numbers"),
    "national_id": ("national identity number", "national identity numbers"),
    "mrn": ("medical record number", "medical record numbers"),
    "health_plan": ("health plan number", "health plan numbers"),
    "person": ("name of a person", "names of persons"),
    "location": ("place", "places"),
    "address": ("postal address", "postal addresses"),
    "date": ("date", "dates"),
    "api_key": ("API key", "API keys"),
    "secret": ("secret", "secrets"),
    "injection": ("sign of an injected instruction", "signs of injected instructions"),
}
"""Singular and plural of the types of findings; a type that is not here is spoken of by its own name."""


def joined(words: Iterable[str]) -> str:
    """Return words as a sentence lists them: ``a, b and c``."""
    *head, last = list(words) or ["nothing"]
    return f"{', '.join(head)} and {last}" if head else last


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
    return "it was classified so"


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
