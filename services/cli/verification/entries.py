"""Entries against themselves: hash of the body, columns against the body, link to the entry before.

The hot loop of verification. The envelope of a body is written in a fixed order (:class:`ChainWriter`), so the columns
are compared by writing the beginning that they call for; only where it differs is JSON parsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from schemas.codes import EntryKind
from services.cli.verification.faults import Fault

_KINDS: Final = frozenset(kind.value for kind in EntryKind)
_NULL: Final = b"null"
_LINK_BYTES: Final = 66
"""A hash in hex, with its quotation marks."""
MAX_HEADS: Final = 1_000_000

Row: TypeAlias = tuple[str, int, int, str, str, int, str, bytes, bytes]
"""Of the query ``entries``: record, seq, xid, entry id, kind, schema version, recorded at, stored hash, body."""


class Link(NamedTuple):
    """What an entry says of the one before it, where that is not at hand."""

    record_id: str
    seq: int
    link: bytes


class EntryChecker:
    """Checks entries as they come; remembers the last entry of each record that is not sealed yet."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[int, bytes]] = {}

    def check(self, rows: Sequence[Row]) -> tuple[list[Fault], list[Link]]:
        """Return what is wrong with entries, and the links to entries that were not among those seen lately."""
        faults: list[Fault] = []
        unknown: list[Link] = []
        heads = self._heads
        if len(heads) > MAX_HEADS:
            heads.clear()
        for record_id, seq, _, entry_id, kind, version, recorded_at, stored, body in rows:
            digest = sha256(b"\0" + body).digest()
            if digest != stored:
                faults.append(Fault("its hash is not that of its body", record_id, seq))
            envelope = (
                f'{{"record_id":"{record_id}","seq":{seq},"entry_id":"{entry_id}","kind":"{kind}",'
                f'"schema_version":{version},"recorded_at":"{recorded_at}","prev_hash":'
            ).encode()
            if body.startswith(envelope) and kind in _KINDS:
                at = len(envelope)
                link = body[at : at + _LINK_BYTES]
            else:
                columns = (record_id, seq, entry_id, kind, version, recorded_at)
                differing, link = _compare(columns, body)
                if differing:
                    faults.append(Fault(f"{differing} differs from its body", record_id, seq))
            before = heads.pop(record_id, None)
            if seq == 0:
                linked = link[:4] == _NULL
            elif before is not None and before[0] == seq - 1:
                linked = link == before[1]
            else:
                unknown.append(Link(record_id, seq, link))
                linked = True
            if not linked:
                faults.append(Fault("it does not follow the entry before it", record_id, seq))
            if kind != "sealed":
                heads[record_id] = (seq, as_link(digest))
        return faults, unknown


def as_link(entry_hash: bytes) -> bytes:
    """Return a hash as a body writes it."""
    return b'"%b"' % entry_hash.hex().encode()


_FIELDS: Final = ("record_id", "seq", "entry_id", "kind", "schema_version", "recorded_at")


def _compare(columns: tuple[str, int, str, str, int, str], body: bytes) -> tuple[str, bytes]:
    """Return the columns that differ from what a body says, joined, and the body's link."""
    try:
        said: dict[str, Any] = orjson.loads(body)
        texts = [_canonical(name, said[name]) for name in _FIELDS]
        link = orjson.dumps(said["prev_hash"])
    except (ValueError, KeyError, TypeError):
        return "the whole envelope", b""
    columns_as_text = [_canonical(name, value) for name, value in zip(_FIELDS, columns, strict=True)]
    pairs = zip(_FIELDS, columns_as_text, texts, strict=True)
    return ", ".join(name for name, stored, text in pairs if stored != text), link


def _canonical(name: str, value: object) -> object:
    """Return a time as a moment, however its fraction is written, and anything else as it is."""
    if name != "recorded_at":
        return value
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return value
