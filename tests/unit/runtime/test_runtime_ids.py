"""Identifiers: ordered where they are fresh, the same again where they are derived."""

from __future__ import annotations

from uuid import RFC_4122, UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.ids import content_hash, derive, new_claim_id, new_record_id, now

causes = st.one_of(st.integers(0), st.text())


@given(record=st.uuids(), kind=st.text(min_size=1), cause=causes)
def test_an_entry_id_follows_from_record_kind_and_cause(record: UUID, kind: str, cause: str | int) -> None:
    first = derive(record, kind, cause)

    assert first == derive(record, kind, cause)
    assert first.version == 8
    assert first.variant == RFC_4122


@given(record=st.uuids(), cause=st.integers(0))
def test_each_part_counts(record: UUID, cause: int) -> None:
    here = derive(record, "held", cause)

    assert here != derive(uuid4(), "held", cause)
    assert here != derive(record, "decided", cause)
    assert here != derive(record, "held", cause + 1)


def test_derived_ids_never_change() -> None:
    # What is stored has to be recognised by every later release.
    assert derive(UUID(int=1), "received", 0) == UUID("6669f842-3107-8f56-8399-94dd42739f23")


def test_record_ids_are_version_7_and_in_the_order_of_their_making() -> None:
    made = [new_record_id() for _ in range(2_000)]

    assert {record.version for record in made} == {7}
    assert {record.variant for record in made} == {RFC_4122}
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {type(record) for record in made} == {UUID}


def test_claims_are_random() -> None:
    made = {new_claim_id() for _ in range(1_000)}

    assert len(made) == 1_000
    assert {claim.version for claim in made} == {4}


def test_content_is_named_by_its_digest() -> None:
    assert content_hash(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_present_moment_has_a_time_zone() -> None:
    moment = now()

    assert moment.utcoffset() is not None
    assert not moment.utcoffset()
