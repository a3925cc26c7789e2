"""Reading configuration files strictly, and giving content a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from services.policy.errors import FileError, PolicyError


class Spec(BaseModel):
    """A part of a configuration file; an unknown field is refused, so that a misspelt restriction cannot vanish."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


SpecT = TypeVar("SpecT", bound=BaseModel)


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


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; raises :class:`FileError` naming file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise FileError(
            f"{path}: cannot be read: {reason}.", hint="Point WAYBILL_CONFIG_DIR at the folder that holds it."
        ) from error
    try:
        # The loader is a SafeLoader; only the check for repeated keys is added.
        content = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise FileError(f"{path}{line}: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise FileError(f"{path}: is not YAML: {error}.") from error
    if not isinstance(content, dict):
        raise FileError(f"{path}: has to be a mapping at its top level.")
    return content


def parse(spec: type[SpecT], content: Any, *, where: str, error: type[PolicyError]) -> SpecT:
    """Return `content` as `spec`; raises `error` with the place in the file and everything that is wrong there."""
    try:
        return spec.model_validate(content)
    except ValidationError as invalid:
        problems = "; ".join(
            f"{'.'.join(str(step) for step in problem['loc']) or 'here'}: {problem['msg']}"
            for problem in invalid.errors(include_url=False, include_input=False)
        )
        raise error(f"{where}: {problems}.") from invalid


def content_hash(content: Any) -> str:
    """Return ``sha256:…`` of JSON-like content; equal content has an equal hash, however its keys are ordered."""
    encoded = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return f"sha256:{hashlib.sha256(encoded).hexdigest()}"
