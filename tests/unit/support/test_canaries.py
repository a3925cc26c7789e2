"""The search for canaries sees what it is meant to see."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.canaries import Search

SEARCH = Search(["Zebrafink", "quokka@example.org"])


@given(before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_a_canary_is_seen_whatever_stands_around_it(before: bytes, after: bytes) -> None:
    content = before + b"Zebrafink" + after
    assert SEARCH.finds(content)
    assert SEARCH.finds(content.lower())
    assert SEARCH.finds(content.hex())
    assert SEARCH.finds(base64.b64encode(content))


@pytest.mark.parametrize("other", [None, "", b"", "Zebrafin", "zebra fink", "quokka.example.org", "\ud800"])
def test_something_else_is_not(other: str | bytes | None) -> None:
    assert not SEARCH.finds(other)
