"""Where things stand in a YAML file, so that whatever is wrong is named by file, line and column."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from services.policy.errors import FileError

Step = str | int
Steps = tuple[Step, ...]
_BLOCK_STYLES: Final = ("|", ">")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a file, both counted from 1; written as editors and terminals know to open it."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Document:
    """The content of a YAML file whose top level is a mapping, and the place of every field and item in it."""

    def __init__(self, file: str, text: str) -> None:
        """Parse; raises :class:`FileError` naming line and column."""
        self.file = file
        self._lines = text.splitlines()
        self._places: dict[Steps, Place] = {}
        self._scalars: dict[Steps, yaml.ScalarNode] = {}
        try:
            # The loader is a SafeLoader; only the check for repeated keys and the places are added.
            loader = _UniqueKeyLoader(text)
            try:
                node = loader.get_single_node()
                content = None if node is None else loader.construct_document(node)
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            where = _mark(file, error.problem_mark) if error.problem_mark else file
            raise FileError(f"{where}: {error.problem}.") from error
        except yaml.YAMLError as error:
            raise FileError(f"{file}: is not YAML: {error}.") from error
        if node is None or not isinstance(content, dict):
            raise FileError(f"{file}: has to be a mapping at its top level.")
        self.content: dict[str, Any] = content
        self._walk(node, ())

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read a file; raises :class:`FileError`."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise FileError(
                f"{path}: cannot be read: {reason}.", hint="Point WAYBILL_CONFIG_DIR at the folder that holds it."
            ) from error
        return cls(str(path), text)

    def at(self, steps: Steps) -> Place:
        """Return the place of a field or item; of what is not there, the place of what it should stand in."""
        while steps not in self._places and steps:
            steps = steps[:-1]
        return self._places.get(steps, Place(self.file, 1, 1))

    def within(self, steps: Steps, line: int, column: int) -> Place:
        """Return the place of a line and column, both from 1, of the text that a scalar holds.

        Exact for text on one line and for block text (``|``); for folded text it is the place where the text begins.
        """
        node = self._scalars.get(steps)
        if node is None:
            return self.at(steps)
        start = node.start_mark
        if node.style == "|":
            first = start.line + 1
            indent = next((len(text) - len(text.lstrip()) for text in self._lines[first:] if text.strip()), 0)
            return Place(self.file, first + line, indent + column)
        if node.style in _BLOCK_STYLES or line > 1 or start.line != node.end_mark.line:
            return _mark(self.file, start)
        return Place(self.file, start.line + 1, start.column + column + (node.style is not None))

    def _walk(self, node: yaml.Node, steps: Steps) -> None:
        self._places.setdefault(steps, _mark(self.file, node.start_mark))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*steps, str(key.value))
                self._places[here] = _mark(self.file, key.start_mark)
                self._walk(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self._walk(item, (*steps, number))
        elif isinstance(node, yaml.ScalarNode):
            self._scalars[steps] = node


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML says that keys are unique, PyYAML keeps the last one silently: here a repeated key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is repeated", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# Booleans are those of YAML 1.2: in 1.1 the key `on` and the country code `no` are booleans too.
_BOOLEAN: Final = "tag:yaml.org,2002:bool"
_UniqueKeyLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_UniqueKeyLoader.add_implicit_resolver(_BOOLEAN, re.compile(r"^(?:true|false)$"), list("tf"))


def _mark(file: str, mark: yaml.Mark) -> Place:
    return Place(file, mark.line + 1, mark.column + 1)
