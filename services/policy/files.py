"""Reading configuration files strictly, and giving content a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from services.policy.errors import PolicyError
from services.policy.places import Document, Steps


class Spec(BaseModel):
    """A part of a configuration file; an unknown field is refused, so that a misspelt restriction cannot vanish."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


SpecT = TypeVar("SpecT", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; raises :class:`FileError` naming file, line and column."""
    return Document.read(path).content


def parse(spec: type[SpecT], content: Any, *, where: str, error: type[PolicyError]) -> SpecT:
    """Return `content` as `spec`; raises `error` with the place in the file and everything that is wrong there."""
    try:
        return spec.model_validate(content)
    except ValidationError as invalid:
        raise error(f"{where}: {'; '.join(_problems(invalid, spec))}.") from invalid


def parse_at(
    spec: type[SpecT],
    document: Document,
    *,
    steps: Steps = (),
    what: str = "",
    error: type[PolicyError],
    also: Mapping[str, Any] | None = None,
) -> SpecT:
    """Return the part of a document at `steps`, with the fields `also`, as `spec`.

    Raises `error` with one line for each thing that is wrong: its place, `what` it belongs to, its field, and why.
    """
    content: Any = document.content
    for step in steps:
        content = content[step]
    try:
        return spec.model_validate(content if also is None else {**content, **also})
    except ValidationError as invalid:
        places = [document.at((*steps, *problem["loc"])) for problem in invalid.errors(include_url=False)]
        subject = f"{what}: " if what else ""
        lines = [
            f"{place}: {subject}{problem}." for place, problem in zip(places, _problems(invalid, spec), strict=True)
        ]
        raise error("\n".join(lines)) from invalid


def content_hash(content: Any) -> str:
    """Return ``sha256:…`` of JSON-like content; equal content has an equal hash, however its keys are ordered."""
    return f"sha256:{hashlib.sha256(canonical(content)).hexdigest()}"


def canonical(content: Any) -> bytes:
    """Return JSON-like content in the one form that its hash covers."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _problems(invalid: ValidationError, spec: type[BaseModel]) -> list[str]:
    return [
        f"{'.'.join(str(step) for step in problem['loc']) or 'here'}: {_in_words(problem, spec)}"
        for problem in invalid.errors(include_url=False, include_input=False)
    ]


def _in_words(problem: Any, spec: type[BaseModel]) -> str:
    match problem["type"]:
        case "extra_forbidden":
            name = str(problem["loc"][-1])
            near = get_close_matches(name, _fields(spec), n=1)
            return f"there is no field {name!r} here" + (f"; did you mean {near[0]!r}?" if near else "")
        case "missing":
            return "is missing"
        case "value_error":
            return str(problem["msg"]).removeprefix("Value error, ")
        case _:
            return str(problem["msg"])


def _fields(spec: type[BaseModel]) -> list[str]:
    """Return the names of a model's fields, and of those of the models in it."""
    names: list[str] = []
    for name, field in spec.model_fields.items():
        names.append(name)
        inner = field.annotation
        for kind in (inner, *getattr(inner, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                names += _fields(kind)
    return names
