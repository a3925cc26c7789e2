"""Proof files: ours and an outsider's verifier agree; whatever is altered in a file fails in both."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import outside_verifier
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from proof_samples import KEY, proof_file

from services.proof.errors import ProofError, ProofFileError
from services.proof.note import SigningKey
from services.proof.proof_file import Access, ProofFile

Document = dict[str, Any]
OTHER_KEY = SigningKey(KEY.public.name, Ed25519PrivateKey.generate())


def document() -> Document:
    parsed: Document = json.loads(proof_file().to_json())
    return parsed


def our_verdict(of: Document, key: SigningKey = KEY) -> bool:
    try:
        ProofFile.parse(json.dumps(of)).check(key.public)
    except ProofError:
        return False
    return True


def outside_verdict(of: Document, key: SigningKey = KEY) -> bool:
    try:
        outside_verifier.check(of, str(key.public))
    except (AssertionError, InvalidSignature, ValueError):
        return False
    return True


def test_a_proof_holds_for_both() -> None:
    assert our_verdict(document())
    assert outside_verdict(document())


def test_the_outside_verifier_is_short_and_imports_nothing_of_ours() -> None:
    with open(outside_verifier.__file__, encoding="utf-8") as file:
        lines = [line for line in file.read().splitlines() if line.strip()]
    assert len(lines) <= 50
    assert not [line for line in lines if "import" in line and ("services" in line or "schemas" in line)]


def test_a_proof_survives_being_written_and_read() -> None:
    proof = proof_file()
    assert ProofFile.parse(proof.to_json()) == proof
    read = replace(proof, access_log=(Access("ana", "2026-01-01T00:00:00+00:00", "ticket 12", "an id", "job"),))
    assert ProofFile.parse(read.to_json()) == read


def _in(part: str, change: Callable[[Any], Any], entry: int = 1) -> Callable[[Document], None]:
    def spoil(of: Document) -> None:
        of["entries"][entry][part] = change(of["entries"][entry][part])

    return spoil


def _flipped(encoded: str) -> str:
    content = base64.b64decode(encoded)
    return base64.b64encode(bytes([content[0] ^ 1]) + content[1:]).decode()


SPOILED: dict[str, Callable[[Document], None]] = {
    "body": _in("body", lambda body: body.replace("€", "$")),
    "space in the body": _in("body", lambda body: body.replace('": ', '":')),
    "index": _in("index", lambda index: index + 1),
    "negative index": _in("index", lambda index: index - 7),
    "path": _in("path", lambda path: [_flipped(path[0]), *path[1:]]),
    "shorter path": _in("path", lambda path: path[:-1]),
    "longer path": _in("path", lambda path: [*path, path[0]]),
    "path reversed": _in("path", lambda path: path[::-1]),
    "entry removed": lambda of: of["entries"].pop(1),
    "first entry removed": lambda of: of["entries"].pop(0),
    "entries swapped": lambda of: of["entries"].reverse(),
    "entry twice": lambda of: of["entries"].insert(1, of["entries"][1]),
    "record": lambda of: of.update(record_id=str(UUID(int=2))),
    "size": lambda of: of.update(checkpoint=of["checkpoint"].replace("\n7\n", "\n8\n")),
    "time": lambda of: of.update(checkpoint=of["checkpoint"].replace("2026", "2025")),
    "root": lambda of: of.update(checkpoint=of["checkpoint"].replace("=\nsystem", "A=\nsystem")),
    "signature": lambda of: of.update(checkpoint=of["checkpoint"][:-12] + "A" + of["checkpoint"][-11:]),
}


@pytest.mark.parametrize("what", SPOILED)
def test_whatever_is_altered_fails_in_both(what: str) -> None:
    spoiled = document()
    SPOILED[what](spoiled)
    assert spoiled != document()
    assert not our_verdict(spoiled)
    assert not outside_verdict(spoiled)


def test_another_key_does_not_prove_it() -> None:
    assert not our_verdict(document(), OTHER_KEY)
    assert not outside_verdict(document(), OTHER_KEY)


def test_a_file_without_entries_proves_nothing() -> None:
    empty = document()
    empty["entries"] = []
    with pytest.raises(ProofFileError, match="no entry"):
        ProofFile.parse(json.dumps(empty)).check(KEY.public)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "waybill-proof/2"}', '{"format": "waybill-proof/1"}'])
def test_what_is_no_proof_file_says_so(text: str) -> None:
    with pytest.raises(ProofFileError):
        ProofFile.parse(text)
