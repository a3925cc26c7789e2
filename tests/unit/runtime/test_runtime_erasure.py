"""Which jobs of an erased subject are refused, and what a subject is known by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.runtime import erasure
from services.runtime.erasure import Refusal

ERASED = datetime(2026, 3, 4, tzinfo=UTC)
moments = st.integers(-(10**9), 10**9).map(lambda seconds: ERASED + timedelta(seconds=seconds))


@given(published=moments)
def test_within_the_window_no_clock_is_believed(published: datetime) -> None:
    assert Refusal(ERASED, refused_now=True).refuses(published)


@given(published=moments)
def test_after_it_what_was_published_before_stays_refused(published: datetime) -> None:
    assert Refusal(ERASED, refused_now=False).refuses(published) == (published <= ERASED)


class Keys:
    """Shows what is hashed, and under whose key."""

    def tenant_hmac(self, tenant: str, purpose: str, content: bytes) -> bytes:
        return f"{tenant}|{purpose}|".encode() + content


names = st.text(st.sampled_from("ab\ud800é"), max_size=4)


@given(one=st.tuples(st.sampled_from(["a", "ab"]), names), other=st.tuples(st.sampled_from(["a", "ab"]), names))
def test_subjects_are_told_apart_by_tenant_and_by_name(one: tuple[str, str], other: tuple[str, str]) -> None:
    keys: Any = Keys()
    assert (erasure.subject_hmac(keys, *one) == erasure.subject_hmac(keys, *other)) == (one == other)
