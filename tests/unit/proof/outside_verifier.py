"""Checks a proof file as an outsider would, from docs/verification.md alone: python outside_verifier.py FILE KEY."""

import base64
import hashlib
import json
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(content):
    return hashlib.sha256(content).digest()


def opened(note, key):
    name, key_id, encoded = key.split("+", 2)
    public = base64.b64decode(encoded)[1:]
    assert sha256(f"{name}\n\x01".encode() + public)[:4].hex() == key_id, "the key's hash"
    text, _, signatures = note.rpartition("\n\n")
    for line in signatures.splitlines():
        _, signer, signature = line.split(" ")
        content = base64.b64decode(signature)
        if (signer, content[:4].hex()) == (name, key_id):
            Ed25519PublicKey.from_public_bytes(public).verify(content[4:], f"{text}\n".encode())
            return text.split("\n")
    raise AssertionError("not signed by this key")


def root_from(leaf, index, size, path):
    if size == 1:
        assert not path, "a path too long"
        return leaf
    half = 1 << (size - 1).bit_length() - 1
    *below, sibling = path
    if index < half:
        return sha256(b"\1" + root_from(leaf, index, half, below) + sibling)
    return sha256(b"\1" + sibling + root_from(leaf, index - half, size - half, below))


def check(proof, key):
    origin, size, root = opened(proof["checkpoint"], key)[:3]
    previous = None
    for seq, entry in enumerate(proof["entries"]):
        leaf = sha256(b"\0" + entry["body"].encode())
        path = [base64.b64decode(node) for node in entry["path"]]
        assert 0 <= entry["index"] < int(size), "the index"
        assert root_from(leaf, entry["index"], int(size), path) == base64.b64decode(root), f"entry {seq}: the root"
        body = json.loads(entry["body"])
        assert (body["record_id"], body["seq"]) == (proof["record_id"], seq), f"entry {seq}: another entry"
        assert body["prev_hash"] == previous, f"entry {seq}: the chain"
        previous = leaf.hex()
    return f"{len(proof['entries'])} entries proven by {origin}"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(check(json.load(file), sys.argv[2]))
