"""The rules as data: YAML files beside this module, checked when they are loaded.

The file's name says which kind it is: ``patterns_*.yaml`` hold a :class:`PatternFile`, ``lexicon_*.yaml`` a
:class:`Lexicon`, ``data_classes.yaml`` the :class:`DataClassRules`, ``names.json`` the :class:`Names`,
``person_words.yaml`` the :class:`PersonWords`; the forms of ``labels.yaml`` and ``tools.yaml`` are in
:mod:`services.detect.rules.labels`. A file that does not fit its kind fails at load, never at a text.
:data:`RULE_SET_VERSION` changes with any byte of any of them.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from services.detect.rules.labels import LabelRule, Labels, ToolRules

# ``trace``: says little about a person by itself; ``business``: names a company or a profession; ``document``: says
# what kind of text it stands in.
Group = Literal["personal", "health", "credential", "trace", "business", "document"]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return pattern


PythonRegex = Annotated[str, AfterValidator(_compiles)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pattern(_Strict):
    """One way to recognise one type.

    ``regex`` runs in the pattern engine over UTF-8 bytes: ASCII word boundaries, no lookaround. The rest is checked
    afterwards on the text itself:

    - ``words``: what must stand before the value, up to ``gap`` characters away and without a digit between them;
    - ``alone``: true lets the value stand without its words when it is all there is, as in a field of a form. What has
      nothing to check, and would be found everywhere, is recognised in no other way;
    - ``extend``: matched from the end of the match, it lengthens it (open-ended tails cost nothing this way);
    - ``value``: searched inside the match, its group ``value`` is the finding (context words stay outside);
    - ``back``: how many characters before the match ``value`` may begin: the engine finds the word that gives it away;
    - ``not_before``, ``not_after``: what may not end right before the finding, nor begin right after it;
    - ``validator``: a name from :mod:`services.detect.validators`; a longer match that fails gives way to a shorter;
    - ``unless``: what may not be found between the beginning of the match and the value: names of other things;
    - ``min_length``: a shorter finding is none;
    - ``max_length``: longer matches are no findings, in code points;
    - ``cost``: what one validation takes, in units of about 2 µs.
    """

    id: str
    type: str
    regex: str
    confidence: Annotated[float, Field(gt=0, le=1)]
    ignore_case: bool = True
    words: tuple[PythonRegex, ...] = ()
    gap: Annotated[int, Field(ge=0, le=60)] = 24
    alone: bool = False
    validator: str | None = None
    extend: PythonRegex | None = None
    value: PythonRegex | None = None
    back: Annotated[int, Field(ge=0, le=160)] = 0
    unless: PythonRegex | None = None
    not_before: PythonRegex | None = None
    not_after: PythonRegex | None = None
    min_length: Annotated[int, Field(gt=0)] = 1
    max_length: Annotated[int, Field(gt=0)] = 512
    cost: Annotated[int, Field(gt=0)] = 3


class PatternFile(_Strict):
    """Types with their groups, and patterns that find these types or those of other files."""

    types: dict[str, Group] = {}
    patterns: list[Pattern]


class Names(_Strict):
    """Names that people and places have, blank-separated.

    ``words`` are those of the names that are also words of everyday English; ``regions`` are those of the places that
    are countries and states, which say less about a person than a town does.
    """

    source: str
    given: str
    family: str
    words: str
    places: str
    regions: str


class PersonWords(_Strict):
    """Words that make a name of a capitalised word, or unmake one."""

    titles: frozenset[str]
    organisation: frozenset[str]
    plain: frozenset[str]
    cues: frozenset[str]
    eponyms: frozenset[str]


class Lexicon(_Strict):
    """Labels, each with terms by weight. A term is a pattern-engine regex, matched whole-word and in any case."""

    threshold: float
    labels: dict[str, dict[float, list[str]]]


class Together(_Strict):
    """Types that mean more in one text than each by itself: one of each list makes the class."""

    each_of: tuple[tuple[str, ...], ...]
    data_class: str


class DataClassRules(_Strict):
    """How finding types become a data class. ``order`` runs from the most open to the strictest."""

    order: list[str]
    default: str
    groups: dict[Group, str]
    types: dict[str, str]
    together: tuple[Together, ...] = ()
    raised: tuple[LabelRule, ...] = ()

    @model_validator(mode="after")
    def _every_class_is_in_the_order(self) -> Self:
        unknown = {self.default, *self.groups.values(), *self.types.values()} - set(self.order)
        unknown |= {together.data_class for together in self.together} - set(self.order)
        unknown |= {rule.label for rule in self.raised} - set(self.order)
        if unknown:
            raise ValueError(f"classes missing from the order: {sorted(unknown)}")
        return self


# libyaml's loader is ten times as fast as the one in Python, and most installations have it.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def loaded(content: bytes) -> Any:
    """Return what YAML says; raises ``yaml.YAMLError``."""
    return yaml.load(content, _LOADER)  # noqa: S506 - either loader is the safe one


@cache
def names() -> Names:
    """Load ``names.json``."""
    return Names.model_validate_json(_sources()["names.json"])


@cache
def person_words() -> PersonWords:
    """Load ``person_words.yaml``."""
    return PersonWords.model_validate(loaded(_sources()["person_words.yaml"]))


@cache
def _sources() -> dict[str, bytes]:
    found = {
        file.name: file.read_bytes() for file in files(__package__).iterdir() if file.name.endswith((".yaml", ".json"))
    }
    return dict(sorted(found.items()))


def _version() -> str:
    digest = hashlib.sha256()
    for name, content in _sources().items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"sha256:{digest.hexdigest()}"


RULE_SET_VERSION: Final = _version()


def pattern_file(content: bytes) -> PatternFile:
    """Return the pattern file that YAML holds; raises ``ValueError`` when it holds none."""
    return PatternFile.model_validate(loaded(content))


@cache
def pattern_files() -> tuple[PatternFile, ...]:
    """Every pattern file, by name. Raises ``ValueError`` for a pattern whose type no file declares."""
    found = tuple(pattern_file(content) for name, content in _sources().items() if name.startswith("patterns_"))
    known = {type_ for file in found for type_ in file.types}
    unknown = {pattern.type for file in found for pattern in file.patterns} - known
    if unknown:
        raise ValueError(f"patterns of undeclared types: {sorted(unknown)}")
    return found


@cache
def type_groups() -> dict[str, Group]:
    """Group of every type that a pattern can find."""
    return {type_: group for file in pattern_files() for type_, group in file.types.items()}


def lexicon(name: str) -> Lexicon:
    """Load ``lexicon_<name>.yaml``."""
    return Lexicon.model_validate(loaded(_sources()[f"lexicon_{name}.yaml"]))


@cache
def data_class_rules() -> DataClassRules:
    """Return the rules that turn finding types into a data class."""
    return DataClassRules.model_validate(loaded(_sources()["data_classes.yaml"]))


@cache
def label_rules() -> Labels:
    """Return the rules that make a job's risk tier and action class."""
    return Labels.model_validate(loaded(_sources()["labels.yaml"]))


@cache
def tool_rules() -> ToolRules:
    """Return the rules that tell what tools do."""
    return ToolRules.model_validate(loaded(_sources()["tools.yaml"]))
