"""Rules of an operator's own, beside those that come with the product: a tenant's customer numbers, project names.

A file has the form of the ``patterns_*.yaml`` files. Its patterns may find types that exist or types of their own; a
type that no class is declared for gets the strictest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from services.detect.patterns import PatternDetector
from services.detect.rules import RULE_SET_VERSION, pattern_file, type_groups


@dataclass(frozen=True, slots=True)
class OwnRules:
    """Compiled rules of somebody's own. ``version`` names them together with those of the product."""

    detector: PatternDetector
    version: str

    @classmethod
    def load(cls, paths: Iterable[Path]) -> OwnRules:
        """Read and compile files. Raises ``ValueError`` for one that does not fit its kind or does not compile."""
        contents = [path.read_bytes() for path in paths]
        files = [pattern_file(content) for content in contents]
        known = type_groups().keys() | {type_ for file in files for type_ in file.types}
        patterns = [pattern for file in files for pattern in file.patterns]
        if unknown := {pattern.type for pattern in patterns} - known:
            raise ValueError(f"patterns of undeclared types: {sorted(unknown)}")
        digest = hashlib.sha256(RULE_SET_VERSION.encode())
        for content in contents:
            digest.update(len(content).to_bytes(8, "big") + content)
        return cls(PatternDetector(patterns), f"sha256:{digest.hexdigest()}")
