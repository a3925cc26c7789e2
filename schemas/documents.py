"""Writes the contracts for people and tools: JSON Schemas and the AsyncAPI document, into ``docs/``.

``python -m schemas.documents`` writes them anew; with ``--check`` it writes nothing, names the files that differ from
the models, and exits 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from schemas.asyncapi import asyncapi
from schemas.json_schemas import json_schemas

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
_SCHEMA: Final = ".schema.json"
_GENERATED: Final = "# Made by `python -m schemas.documents`; edit the models and tables in `schemas/` instead.\n"


def documents() -> dict[str, str]:
    """Return the text of every generated file, by its path below ``docs/``."""
    files = {
        f"schemas/{path}": json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for path, schema in json_schemas().items()
    }
    # Read through JSON, for enumerations to become plain strings and shared parts to be written out.
    plain = json.loads(json.dumps(asyncapi()))
    files["asyncapi.yaml"] = _GENERATED + yaml.safe_dump(plain, sort_keys=True, allow_unicode=True, width=120)
    return files


def differing(files: Mapping[str, str], folder: Path) -> list[str]:
    """Return the paths of files that are missing or differ in ``folder``, and of schemas beside them of the past."""
    differ = [path for path, text in files.items() if _read(folder / path) != text]
    made = {Path(path).parent for path in files if path.endswith(_SCHEMA)}
    there = {str(file.relative_to(folder)) for parent in made for file in (folder / parent).glob(f"*{_SCHEMA}")}
    return sorted({*differ, *(there - files.keys())})


def write(files: Mapping[str, str], folder: Path) -> list[str]:
    """Bring ``folder`` to what the models say, and return the paths that changed."""
    changed = differing(files, folder)
    for path in changed:
        file = folder / path
        if path not in files:
            file.unlink()
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(files[path], encoding="utf-8")
    return changed


def run(files: Mapping[str, str], command: str, arguments: list[str] | None = None, folder: Path = DOCS) -> int:
    """Write or check files as the command line asks; returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {command}")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    check = parser.parse_args(arguments).check
    paths = differing(files, folder) if check else write(files, folder)
    for path in paths:
        sys.stdout.write(f"{'differs' if check else 'written'}: {folder.name}/{path}\n")
    return 1 if check and paths else 0


def _read(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.is_file() else None


if __name__ == "__main__":
    sys.exit(run(documents(), "schemas.documents"))
