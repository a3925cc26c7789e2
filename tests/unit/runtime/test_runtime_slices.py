"""Slices keep order and limits; halving gives exactly the culprits to whoever handles them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.slices import MAX_BYTES, MAX_RECORDS, halving, slices


class PoisonError(Exception):
    """The database refuses an item."""


@given(
    sizes=st.lists(st.integers(0, 20), max_size=60),
    max_records=st.integers(1, 10),
    max_bytes=st.integers(0, 40),
)
def test_slices_are_the_items_cut_at_the_limits(sizes: list[int], max_records: int, max_bytes: int) -> None:
    items = list(enumerate(sizes))

    parts = list(slices(items, lambda item: item[1], max_records=max_records, max_bytes=max_bytes))

    assert [item for part in parts for item in part] == items
    for part, following in zip_longest(parts, parts[1:]):
        size = sum(weight for _, weight in part)
        assert 1 <= len(part) <= max_records
        assert size <= max_bytes or len(part) == 1
        # No slice ends before it has to.
        assert following is None or len(part) == max_records or size + following[0][1] > max_bytes


def test_the_limits_are_reached_and_not_passed() -> None:
    assert [len(part) for part in slices([0] * (MAX_RECORDS + 1), lambda _: 0)] == [MAX_RECORDS, 1]
    half = MAX_BYTES // 2
    assert [len(part) for part in slices([half, half, 1], lambda size: size)] == [2, 1]


def test_an_item_over_the_limit_stands_alone() -> None:
    assert list(slices([1, MAX_BYTES + 1, 1], lambda size: size)) == [[1], [MAX_BYTES + 1], [1]]


def test_nothing_gives_no_slice() -> None:
    assert list(slices([], len)) == []


@given(items=st.lists(st.booleans(), min_size=1, max_size=64))
async def test_halving_finds_exactly_the_culprits(items: list[bool]) -> None:
    numbered = list(enumerate(items))
    worked: list[int] = []

    async def work(part: Sequence[tuple[int, bool]]) -> Sequence[str]:
        if any(poison for _, poison in part):
            raise PoisonError
        worked.extend(number for number, _ in part)
        return [f"done {number}" for number, _ in part]

    async def poisoned(item: tuple[int, bool], error: BaseException) -> Sequence[str]:
        assert isinstance(error, PoisonError)
        return [f"poison {item[0]}"]

    results = await halving(numbered, work, blames=lambda error: isinstance(error, PoisonError), poisoned=poisoned)

    assert results == [f"{'poison' if poison else 'done'} {number}" for number, poison in numbered]
    assert worked == [number for number, poison in numbered if not poison]


@pytest.mark.parametrize("count", [1, 2, 7])
async def test_an_error_that_blames_nobody_passes_through_at_once(count: int) -> None:
    calls = 0

    async def work(part: Sequence[int]) -> Sequence[int]:
        nonlocal calls
        calls += 1
        raise ConnectionResetError

    async def poisoned(item: int, error: BaseException) -> Sequence[int]:
        raise AssertionError

    with pytest.raises(ConnectionResetError):
        await halving(range(count), work, blames=lambda error: isinstance(error, PoisonError), poisoned=poisoned)
    assert calls == 1


async def test_an_error_of_the_handler_itself_passes_through() -> None:
    async def work(part: Sequence[int]) -> Sequence[int]:
        raise PoisonError

    async def poisoned(item: int, error: BaseException) -> Sequence[int]:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await halving([1], work, blames=lambda error: isinstance(error, PoisonError), poisoned=poisoned)
