"""The rules as data: YAML files beside this module, checked when they are loaded.

The file's name says which kind it is: ``patterns_*.yaml`` hold a :class:`PatternFile`, ``lexicon_*.yaml`` a
:class:`Lexicon`, ``data_classes.yaml`` the :class:`DataClassRules`. A file that does not fit its kind fails at load,
never at a text. :data:`RULE_SET_VERSION` changes with any byte of any of them.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Annotated, Final, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Group = Literal["personal", "health", "credential"]


def _compiles(pattern: str) -> str:
    re.compile(pattern)
    return pattern


PythonRegex = Annotated[str, AfterValidator(_compiles)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pattern(_Strict):
    """One way to recognise one type.

    ``regex`` runs in the pattern engine over UTF-8 bytes: ASCII word boundaries, no lookaround. The rest is checked
    afterwards on the text itself:

    - ``extend``: matched from the end of the match, it lengthens it (open-ended tails cost nothing this way);
    - ``value``: searched inside the match, its group ``value`` is the finding (context words stay outside);
    - ``not_before``, ``not_after``: what may not end right before the finding, nor begin right after it;
    - ``validator``: a name from :mod:`services.detect.validators`; a longer match that fails gives way to a shorter;
    - ``max_length``: longer matches are no findings, in code points;
    - ``cost``: what one validation takes, in units of about 2 µs.
    """

    id: str
    type: str
    regex: str
    confidence: Annotated[float, Field(gt=0, le=1)]
    ignore_case: bool = True
    validator: str | None = None
    extend: PythonRegex | None = None
    value: PythonRegex | None = None
    not_before: PythonRegex | None = None
    not_after: PythonRegex | None = None
    max_length: Annotated[int, Field(gt=0)] = 512
    cost: Annotated[int, Field(gt=0)] = 1


class PatternFile(_Strict):
    """Types with their groups, and the patterns that find them."""

    types: dict[str, Group]
    patterns: list[Pattern]

    @model_validator(mode="after")
    def _every_pattern_has_a_known_type(self) -> Self:
        unknown = {pattern.type for pattern in self.patterns} - self.types.keys()
        if unknown:
            raise ValueError(f"patterns of undeclared types: {sorted(unknown)}")
        return self


class Lexicon(_Strict):
    """Labels, each with terms by weight. A term is a pattern-engine regex, matched whole-word and in any case."""

    threshold: float
    labels: dict[str, dict[float, list[str]]]


class DataClassRules(_Strict):
    """How finding types become a data class. ``order`` runs from the most open to the strictest."""

    order: list[str]
    default: str
    groups: dict[Group, str]
    types: dict[str, str]

    @model_validator(mode="after")
    def _every_class_is_in_the_order(self) -> Self:
        unknown = {self.default, *self.groups.values(), *self.types.values()} - set(self.order)
        if unknown:
            raise ValueError(f"classes missing from the order: {sorted(unknown)}")
        return self


def _sources() -> dict[str, bytes]:
    found = {file.name: file.read_bytes() for file in files(__package__).iterdir() if file.name.endswith(".yaml")}
    return dict(sorted(found.items()))


def _version() -> str:
    digest = hashlib.sha256()
    for name, content in _sources().items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"sha256:{digest.hexdigest()}"


RULE_SET_VERSION: Final = _version()


@cache
def pattern_files() -> tuple[PatternFile, ...]:
    """Every pattern file, by name."""
    return tuple(
        PatternFile.model_validate(yaml.safe_load(content))
        for name, content in _sources().items()
        if name.startswith("patterns_")
    )


@cache
def type_groups() -> dict[str, Group]:
    """Group of every type that a pattern can find."""
    return {type_: group for file in pattern_files() for type_, group in file.types.items()}


def lexicon(name: str) -> Lexicon:
    """Load ``lexicon_<name>.yaml``."""
    return Lexicon.model_validate(yaml.safe_load(_sources()[f"lexicon_{name}.yaml"]))


@cache
def data_class_rules() -> DataClassRules:
    """Return the rules that turn finding types into a data class."""
    return DataClassRules.model_validate(yaml.safe_load(_sources()["data_classes.yaml"]))
