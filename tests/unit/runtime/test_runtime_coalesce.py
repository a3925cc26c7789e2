"""Coalescing: one statement for many, and to each asker its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.coalesce import Coalescer


class PoisonError(Exception):
    """The database refuses a row."""


class Database:
    """Answers each flush when told to; remembers what it was asked."""

    def __init__(self) -> None:
        self.flushes: list[list[int]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def flush(self, requests: Sequence[int]) -> Sequence[int]:
        """Answer every request with its tenfold; a negative one is poison."""
        self.flushes.append(list(requests))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            if any(request < 0 for request in requests):
                raise PoisonError
            return [request * 10 for request in requests]
        finally:
            self.at_once -= 1


@pytest.fixture
def database() -> Database:
    """A database that answers at once."""
    return Database()


def blames(error: BaseException) -> bool:
    """Whether a row is to blame."""
    return isinstance(error, PoisonError)


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@given(requests=st.lists(st.integers(-3, 50), max_size=40), most=st.integers(1, 10), parallel=st.integers(1, 4))
async def test_each_gets_its_own_answer(requests: list[int], most: int, parallel: int) -> None:
    database = Database()
    coalescer = Coalescer[int, int](database.flush, most=most, parallel=parallel, blames=blames)

    answers = await asyncio.gather(*map(coalescer.ask, requests), return_exceptions=True)

    for request, answer in zip(requests, answers, strict=True):
        assert isinstance(answer, PoisonError) if request < 0 else answer == request * 10
    assert all(1 <= len(flush) <= most for flush in database.flushes)
    assert database.most_at_once <= parallel


async def test_what_comes_together_is_one_flush(database: Database) -> None:
    coalescer = Coalescer[int, int](database.flush)

    await asyncio.gather(*map(coalescer.ask, range(100)))

    assert database.flushes == [list(range(100))]


async def test_what_comes_meanwhile_waits_for_the_next_flush(database: Database) -> None:
    coalescer = Coalescer[int, int](database.flush)
    database.gate.clear()
    first = asyncio.create_task(coalescer.ask(1))
    await _settle()
    others = [asyncio.create_task(coalescer.ask(number)) for number in (2, 3)]
    await _settle()
    assert database.flushes == [[1]]

    database.gate.set()
    assert await asyncio.gather(first, *others) == [10, 20, 30]
    assert database.flushes == [[1], [2, 3]]


async def test_more_than_fits_goes_in_several_flushes(database: Database) -> None:
    coalescer = Coalescer[int, int](database.flush, most=4)

    await asyncio.gather(*map(coalescer.ask, range(10)))

    assert database.flushes == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_flushes_run_side_by_side_up_to_the_limit(database: Database) -> None:
    coalescer = Coalescer[int, int](database.flush, most=1, parallel=3)
    database.gate.clear()
    asking = [asyncio.create_task(coalescer.ask(number)) for number in range(5)]
    await _settle()
    assert database.at_once == 3

    database.gate.set()
    await asyncio.gather(*asking)
    assert database.most_at_once == 3


async def test_a_worker_that_finds_nothing_left_asks_nothing(database: Database) -> None:
    coalescer = Coalescer[int, int](database.flush, parallel=4)

    await asyncio.gather(*map(coalescer.ask, range(4)))

    assert database.flushes == [[0, 1, 2, 3]]


async def test_an_error_reaches_everybody_in_the_flush_and_nobody_else(database: Database) -> None:
    coalescer = Coalescer[int, int](database.flush, most=2, blames=blames)
    database.error = ConnectionResetError()

    answers = await asyncio.gather(*map(coalescer.ask, range(4)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionResetError] * 4

    database.error = None
    assert await coalescer.ask(1) == 10


async def test_poison_is_isolated(database: Database) -> None:
    coalescer = Coalescer[int, int](database.flush, blames=blames)

    answers = await asyncio.gather(*map(coalescer.ask, [1, 2, -3, 4, -5, 6]), return_exceptions=True)

    assert [answer if isinstance(answer, int) else type(answer) for answer in answers] == [
        10, 20, PoisonError, 40, PoisonError, 60,
    ]  # fmt: skip


async def test_one_who_no_longer_waits_does_not_hurt_the_others(database: Database) -> None:
    coalescer = Coalescer[int, int](database.flush, most=2)
    database.gate.clear()
    asking = [asyncio.create_task(coalescer.ask(number)) for number in range(6)]
    await _settle()
    asking[0].cancel()  # its flush is under way
    asking[3].cancel()  # its flush has not begun
    await _settle()
    database.gate.set()

    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert [type(answer) for answer in (answers[0], answers[3])] == [asyncio.CancelledError] * 2
    assert [answers[number] for number in (1, 2, 4, 5)] == [10, 20, 40, 50]
    assert await coalescer.ask(7) == 70
