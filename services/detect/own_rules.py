"""Rules of an operator's own, beside those of the product: a tenant's customer numbers, project names, tools.

A file has the form of the ``patterns_*.yaml`` files, and may say two things more. ``classes`` are the data classes of
its own types; a type without one gets the strictest. ``tools`` are patterns of tools' names, by scope: what such a tool
does whose name says nothing to the product's rules. Nothing in it makes anything that the product finds less strict.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field, ValidationError

from services.detect.patterns import PatternDetector, severity
from services.detect.rules import RULE_SET_VERSION, Pattern, PatternFile, data_class_rules, loaded, type_groups
from services.detect.rules.labels import Scope


class OwnRulesError(ValueError):
    """A file of rules cannot be used: which one, and why."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


class _OwnFile(PatternFile):
    patterns: list[Pattern] = Field(default_factory=list)
    classes: dict[str, str] = Field(default_factory=dict)
    tools: dict[Scope, tuple[str, ...]] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OwnRules:
    """Compiled rules of somebody's own. ``version`` names them together with those of the product."""

    detector: PatternDetector
    types: Mapping[str, str]
    """The types that are its own, each with its group."""
    classes: Mapping[str, str]
    tools: Mapping[Scope, tuple[str, ...]]
    version: str

    @classmethod
    def load(cls, paths: Iterable[Path]) -> OwnRules:
        """Read and compile files; raises :class:`OwnRulesError`."""
        return cls.compiled([(path.name, path.read_bytes()) for path in paths])

    @classmethod
    def compiled(cls, contents: Iterable[tuple[str, bytes]]) -> OwnRules:
        """Compile files, given by name and content.

        Raises :class:`OwnRulesError` for one that does not fit its kind or does not compile.
        """
        contents = list(contents)
        files = {name: _own_file(name, content) for name, content in contents}
        own = {type_ for file in files.values() for type_ in file.types}
        known = type_groups().keys() | own
        types: dict[str, str] = {}
        classes: dict[str, str] = {}
        tools: defaultdict[Scope, tuple[str, ...]] = defaultdict(tuple)
        for name, file in files.items():
            _check(name, file, known, own - type_groups().keys())
            types |= file.types
            classes |= file.classes
            for scope, patterns in file.tools.items():
                tools[scope] += patterns
        digest = hashlib.sha256(RULE_SET_VERSION.encode())
        for _, content in contents:
            digest.update(len(content).to_bytes(8, "big") + content)
        return cls(_detector(files, classes), types, classes, dict(tools), f"sha256:{digest.hexdigest()}")


_MOST_TOLD: Final = 3


def _own_file(name: str, content: bytes) -> _OwnFile:
    try:
        return _OwnFile.model_validate(loaded(content))
    except yaml.YAMLError as error:
        raise OwnRulesError(name, f"is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise OwnRulesError(name, "; ".join(_told(one) for one in error.errors()[:_MOST_TOLD])) from error


def _told(error: Any) -> str:
    return f"{'.'.join(map(str, error['loc'])) or 'the file'}: {error['msg'].removeprefix('Value error, ')}"


def _check(name: str, file: _OwnFile, known: Iterable[str], own: set[str]) -> None:
    if unknown := {pattern.type for pattern in file.patterns} - set(known):
        raise OwnRulesError(name, f"patterns of undeclared types: {', '.join(sorted(unknown))}")
    if foreign := file.types.keys() - own:
        raise OwnRulesError(name, f"types that the product has already: {', '.join(sorted(foreign))}")
    if foreign := file.classes.keys() - own:
        raise OwnRulesError(name, f"classes of types that are not its own: {', '.join(sorted(foreign))}")
    for pattern in file.patterns:
        if pattern.value is not None and "value" not in re.compile(pattern.value).groupindex:
            raise OwnRulesError(name, f"pattern {pattern.id}: its value has no group named value")
    if unknown := set(file.classes.values()) - set(data_class_rules().order):
        raise OwnRulesError(name, f"unknown data classes: {', '.join(sorted(unknown))}")


def _detector(files: Mapping[str, _OwnFile], classes: Mapping[str, str]) -> PatternDetector:
    grave = partial(severity, own=classes)
    try:
        return PatternDetector((pattern for file in files.values() for pattern in file.patterns), grave)
    except (ValueError, ImportError, AttributeError) as error:
        for name, file in files.items():
            for pattern in file.patterns:
                try:
                    PatternDetector([pattern])
                except (ValueError, ImportError, AttributeError) as culprit:
                    raise OwnRulesError(name, f"pattern {pattern.id}: {culprit}") from culprit
        raise OwnRulesError(next(iter(files)), f"does not compile with the others: {error}") from error
