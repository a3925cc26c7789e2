"""Notes are those of C2SP and Go: their published examples verify and are made again byte by byte."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.proof.errors import KeyFormatError, NoteError
from services.proof.note import SigningKey, VerifyingKey

# The example of golang.org/x/mod/sumdb/note.
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
NOTE = f"{TEXT}\n{SIGNATURE}"
PUBLIC = VerifyingKey.parse(GO_PUBLIC)
SEED = base64.b64decode(GO_SECRET.split("+", 4)[4])[1:]
SECRET = SigningKey.parse("PeterNeumann", base64.b64encode(SEED).decode())


def test_the_published_note_opens() -> None:
    assert PUBLIC.open(NOTE) == TEXT
    assert str(PUBLIC) == GO_PUBLIC


def test_the_published_note_is_made_again() -> None:
    assert SECRET.sign(TEXT) == NOTE
    assert str(SECRET.public) == GO_PUBLIC


def test_a_key_in_pem_is_the_same_key() -> None:
    pem = Ed25519PrivateKey.from_private_bytes(SEED).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert SigningKey.parse("PeterNeumann", pem.decode()).sign(TEXT) == NOTE


def test_other_signatures_are_ignored() -> None:
    """Witnesses may add theirs, before ours or after."""
    witness = SigningKey("witness", Ed25519PrivateKey.generate()).sign(TEXT).rpartition("\n\n")[2]
    namesake = SigningKey("PeterNeumann", Ed25519PrivateKey.generate()).sign(TEXT).rpartition("\n\n")[2]
    assert PUBLIC.open(f"{TEXT}\n{witness}{namesake}{SIGNATURE}{witness}") == TEXT


@pytest.mark.parametrize(
    "note",
    [
        NOTE.replace("know", "knew"),
        NOTE.replace("x08go/ZJ", "x08go/ZK"),
        NOTE.replace("\n\n", "\n"),
        NOTE.removesuffix("\n"),
        NOTE.replace("— ", "- "),
        NOTE.replace("x08go/ZJ", "x08g*/ZJ"),
        NOTE.replace("PeterNeumann x08g", "PeterNeumann  x08g"),
        f"{TEXT}\n" + SIGNATURE * 101,
        f"{TEXT}\n",
        TEXT,
        "",
        SigningKey("PeterNeumann", Ed25519PrivateKey.generate()).sign(TEXT),
        SigningKey("somebody", Ed25519PrivateKey.from_private_bytes(SEED)).sign(TEXT),
    ],
)
def test_what_is_not_signed_by_the_key_does_not_open(note: str) -> None:
    with pytest.raises(NoteError):
        PUBLIC.open(note)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "name",
        GO_PUBLIC.replace("c74f20a3", "c74f20a4"),
        GO_PUBLIC.replace("c74f20a3", "nothexad"),
        GO_PUBLIC.replace("Peter", "Pater"),
        GO_PUBLIC[:-4],
        GO_PUBLIC.replace("+ARpc", "+AhpC"),
        GO_SECRET,
    ],
)
def test_what_is_no_public_key_is_refused(key: str) -> None:
    with pytest.raises(KeyFormatError):
        VerifyingKey.parse(key)


def test_what_is_no_private_key_is_refused_without_being_shown() -> None:
    wrong = base64.b64encode(b"thirty-one bytes of a secret, no").decode()[:-4]
    pem = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for text in (wrong, "", "-----BEGIN PRIVATE KEY-----", pem.decode()):
        with pytest.raises(KeyFormatError) as refused:
            SigningKey.parse("name", text)
        assert not text or text not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\n"])
def test_a_name_that_a_note_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(KeyFormatError):
        SigningKey(name, Ed25519PrivateKey.generate())


def test_a_text_has_to_end_its_line() -> None:
    with pytest.raises(ValueError, match="newline"):
        SECRET.sign("no newline")
