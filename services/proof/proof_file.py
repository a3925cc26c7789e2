"""Proof files: the entries of one record, with what proves each of them under one signed checkpoint.

JSON: ``format``, ``record_id``, ``checkpoint`` (the signed note) and ``entries``, each with ``index`` (its leaf),
``path`` (the audit path, base64, from the leaf's sibling up) and ``body`` (the exact text that was hashed). A file
holds no key: whoever checks it brings the one that they trust. ``access_log`` says who read the record's content, as
the database had it when the file was written: nothing proves that part.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

from services.proof.checkpoint import Checkpoint
from services.proof.errors import ProofFileError
from services.proof.merkle import hash_leaf, verify_inclusion
from services.proof.note import VerifyingKey

FORMAT: Final = "waybill-proof/1"


@dataclass(frozen=True, slots=True)
class Access:
    """That somebody was handed a piece of content."""

    login: str
    at: str
    reason: str
    entry_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """One entry, and what proves it."""

    index: int
    path: tuple[bytes, ...]
    body: str


@dataclass(frozen=True, slots=True)
class ProofFile:
    """A record's entries from the first on, and the checkpoint that covers them."""

    record_id: UUID
    checkpoint: str
    entries: Sequence[ProvenEntry]
    access_log: Sequence[Access] = ()

    def to_json(self) -> str:
        """Return the file's text."""
        document = {
            "format": FORMAT,
            "record_id": str(self.record_id),
            "checkpoint": self.checkpoint,
            "entries": [
                {
                    "index": entry.index,
                    "path": [base64.b64encode(node).decode() for node in entry.path],
                    "body": entry.body,
                }
                for entry in self.entries
            ],
            "access_log": [asdict(access) for access in self.access_log],
        }
        return json.dumps(document, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def parse(cls, text: str) -> ProofFile:
        """Read a file's text; raises :class:`ProofFileError`."""
        try:
            document: dict[str, Any] = json.loads(text)
            if document["format"] != FORMAT:
                raise ProofFileError(f"the file is not of the format {FORMAT}")
            return cls(
                record_id=UUID(document["record_id"]),
                checkpoint=str(document["checkpoint"]),
                entries=[
                    ProvenEntry(
                        index=int(entry["index"]),
                        path=tuple(base64.b64decode(node, validate=True) for node in entry["path"]),
                        body=str(entry["body"]),
                    )
                    for entry in document["entries"]
                ],
                access_log=tuple(
                    Access(**{name: str(line[name]) for name in ("login", "at", "reason", "entry_id", "kind")})
                    for line in document.get("access_log", ())
                ),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ProofFileError("the file is not a proof") from None

    def check(self, key: VerifyingKey) -> Checkpoint:
        """Return the checkpoint that proves every entry; raises :class:`ProofError` naming what does not hold."""
        checkpoint = Checkpoint.opened(self.checkpoint, key)
        if not self.entries:
            raise ProofFileError("the file proves no entry")
        previous: str | None = None
        for seq, entry in enumerate(self.entries):
            leaf = hash_leaf(entry.body.encode())
            if not verify_inclusion(leaf, entry.index, checkpoint.size, entry.path, checkpoint.root):
                raise ProofFileError(f"entry {seq} is not at leaf {entry.index} of the signed tree")
            self._check_chain(seq, entry.body, previous)
            previous = leaf.hex()
        return checkpoint

    def _check_chain(self, seq: int, body: str, previous: str | None) -> None:
        said: dict[str, Any] = json.loads(body)
        if (said.get("record_id"), said.get("seq")) != (str(self.record_id), seq):
            raise ProofFileError(f"entry {seq} of the file is another entry than it says")
        if said.get("prev_hash") != previous:
            raise ProofFileError(f"entry {seq} does not follow the one before it")
