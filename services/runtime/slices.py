"""Slices: how much of a micro-batch goes into one transaction, and how a poison row is found.

A slice ends at 500 records, 8 MB or a second of work, whichever comes first. A slice that the database refuses
because of its data is halved until the culprit is alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeVar

from schemas.topics import MIB

MAX_RECORDS: Final = 500
MAX_BYTES: Final = 8 * MIB

T = TypeVar("T")
R = TypeVar("R")


def slices(
    items: Sequence[T], size: Callable[[T], int], *, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES
) -> Iterator[Sequence[T]]:
    """Cut ``items`` in order into runs of at most so many records and bytes; a larger item stands alone."""
    start, total = 0, 0
    for index, item in enumerate(items):
        weight = size(item)
        if index > start and (index - start >= max_records or total + weight > max_bytes):
            yield items[start:index]
            start, total = index, 0
        total += weight
    if start < len(items):
        yield items[start:]


async def halving(
    items: Sequence[T],
    work: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
    *,
    blames: Callable[[BaseException], bool],
    poisoned: Callable[[T, BaseException], Awaitable[Sequence[R]]],
) -> list[R]:
    """Run ``work``; where it raises what ``blames`` an item, run it on halves, and give the culprit to ``poisoned``.

    Results come in the order of the items. Any other exception passes through.
    """
    try:
        return list(await work(items))
    except Exception as error:
        if not blames(error):
            raise
        if len(items) == 1:
            return list(await poisoned(items[0], error))
    middle = len(items) // 2
    left = await halving(items[:middle], work, blames=blames, poisoned=poisoned)
    return left + await halving(items[middle:], work, blames=blames, poisoned=poisoned)
