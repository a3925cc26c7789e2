"""The ledger's pure parts: what a writer chains, a verifier accepts, and nothing else."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime_chains import AT, RECORD, ChainBuilder

from schemas.codes import EntryKind
from schemas.entries import ENTRY_SCHEMA_VERSION
from services.proof.merkle import hash_leaf
from services.runtime.ids import derive
from services.runtime.ledger import ChainWriter, Entry, verify_chain, writes


def a_chain() -> list[Entry]:
    """A record with one answer, sealed."""
    builder = ChainBuilder()
    builder.classified()
    builder.decided()
    claim = builder.started().entry_id
    builder.finished(claim)
    builder.validated(claim)
    builder.sealed()
    return builder.chain


def test_the_hash_is_a_leaf_hash() -> None:
    assert hash_leaf(b"body") == hashlib.sha256(b"\x00body").digest()


def test_a_body_holds_its_envelope_and_is_what_is_hashed() -> None:
    entry = ChainWriter(RECORD).add("received", {"tenant": "acme", "n": 1}, AT)

    assert orjson.loads(entry.body) == {
        "record_id": str(RECORD),
        "seq": 0,
        "entry_id": str(entry.entry_id),
        "kind": "received",
        "schema_version": ENTRY_SCHEMA_VERSION,
        "recorded_at": "2026-11-24T12:00:00Z",
        "prev_hash": None,
        "data": {"tenant": "acme", "n": 1},
    }
    assert entry.hash == hashlib.sha256(b"\0" + entry.body.encode()).digest()
    assert (entry.record_id, entry.seq, entry.kind) == (RECORD, 0, "received")
    assert entry.head == (0, entry.hash.hex())


def test_each_entry_names_the_hash_of_the_one_before_it() -> None:
    chain = a_chain()

    assert [entry.seq for entry in chain] == list(range(7))
    for before, entry in pairwise(chain):
        assert entry.content()["prev_hash"] == before.hash.hex()


def test_a_writer_goes_on_after_a_head_as_if_it_had_written_it() -> None:
    whole = ChainWriter(RECORD)
    whole.add("received", {}, AT)
    whole.add("classified", {"n": 1}, AT)
    part = ChainWriter(RECORD, whole.entries[0].head)
    part.add("classified", {"n": 1}, AT)

    assert part.entries == whole.entries[1:]
    request = writes(part, whole.entries[0].head, AT)
    assert (request.entries, request.prev, request.at) == (part.entries, whole.entries[0].hash, AT)
    assert writes(whole, None, AT).prev is None


def test_ids_follow_from_the_position_the_cause_or_the_caller() -> None:
    writer, claim = ChainWriter(RECORD), uuid4()

    assert writer.add("received", {}, AT).entry_id == derive(RECORD, "received", 0)
    assert writer.add("held", {}, AT).entry_id == derive(RECORD, "held", 1)
    assert writer.add("validated", {}, AT, cause="claim").entry_id == derive(RECORD, "validated", "claim")
    assert writer.add("released", {}, AT, cause=0).entry_id == derive(RECORD, "released", 0)
    assert writer.add("attempt_started", {}, AT, entry_id=claim).entry_id == claim


@given(
    data=st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=5,
        ),
        max_size=4,
    ),
    at=st.datetimes(timezones=st.just(UTC)),
)
def test_what_was_written_is_read_again(data: dict[str, Any], at: datetime) -> None:
    writer = ChainWriter(RECORD)
    writer.add("received", {}, at)
    entry = writer.add("classified", data, at)

    assert entry.content()["data"] == data
    assert datetime.fromisoformat(entry.content()["recorded_at"]) == at
    assert verify_chain(writer.entries) is None


def test_a_chain_as_written_is_whole() -> None:
    assert verify_chain(a_chain()) is None
    assert verify_chain([]) is None


tampers: dict[str, st.SearchStrategy[Any]] = {
    "record_id": st.uuids(),
    "seq": st.integers(0, 20),
    "entry_id": st.uuids(),
    "kind": st.sampled_from(EntryKind).map(str),
    "body": st.sampled_from(["", "{}", "null", "[1]", "not JSON"]),
    "hash": st.binary(min_size=32, max_size=32),
}


@given(data=st.data())
def test_every_column_changed_alone_is_noticed(data: st.DataObject) -> None:
    chain = a_chain()
    position = data.draw(st.integers(0, len(chain) - 1))
    column = data.draw(st.sampled_from(sorted(tampers)))
    value = data.draw(tampers[column].filter(lambda value: value != getattr(chain[position], column)))

    tampered = chain.copy()
    tampered[position] = chain[position]._replace(**{column: value})

    assert verify_chain(tampered) is not None


@given(data=st.data())
def test_every_field_of_a_body_changed_is_noticed_even_with_a_fitting_hash(data: st.DataObject) -> None:
    chain = a_chain()
    position = data.draw(st.integers(0, len(chain) - 2))  # nothing binds the last one but what was proven outside
    body = chain[position].content()
    field = data.draw(st.sampled_from(sorted(body)))
    body[field] = "changed"
    text = orjson.dumps(body).decode()
    tampered = chain.copy()
    tampered[position] = chain[position]._replace(body=text, hash=hash_leaf(text.encode()))

    assert verify_chain(tampered) is not None


@given(position=st.integers(0, 5))
def test_an_entry_missing_or_in_another_place_is_noticed(position: int) -> None:
    chain = a_chain()

    assert verify_chain(chain[:position] + chain[position + 1 :]) is not None
    swapped = chain.copy()
    swapped[position], swapped[position + 1] = swapped[position + 1], swapped[position]
    assert verify_chain(swapped) is not None


def test_what_is_wrong_is_said_without_content() -> None:
    chain = a_chain()
    chain[2] = chain[2]._replace(kind="held")

    assert verify_chain(chain) == "entry 2: its columns differ from its body"


@pytest.mark.parametrize("kind", list(EntryKind))
def test_entry_ids_of_all_kinds_are_apart(kind: EntryKind) -> None:
    others: set[UUID] = {derive(RECORD, other, 0) for other in EntryKind if other is not kind}

    assert derive(RECORD, kind, 0) not in others
