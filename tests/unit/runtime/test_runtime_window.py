"""The law of the window: the base never passes an unfinished offset, whatever finishes when."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.window import Slot, Window

gapped_offsets = st.tuples(st.integers(0, 2**40), st.lists(st.integers(1, 5), min_size=1, max_size=40)).map(
    lambda drawn: list(accumulate([drawn[0], *drawn[1]]))
)


def test_a_new_window_commits_nothing() -> None:
    window = Window()

    assert (window.base, window.next_offset, len(window)) == (None, None, 0)


def test_the_first_message_sets_the_base_to_itself() -> None:
    window = Window()

    assert window.open(7) is not None
    assert (window.base, window.next_offset, len(window)) == (7, 8, 1)


def test_the_base_waits_for_the_head_and_then_jumps_over_all_that_is_done() -> None:
    window = Window()
    first, second, third = (_opened(window, offset) for offset in (3, 5, 9))

    window.finish(third)
    window.finish(second)
    assert (window.base, len(window)) == (3, 3)

    window.finish(first)
    assert (window.base, window.next_offset, len(window)) == (10, 10, 0)


def test_finishing_twice_changes_nothing() -> None:
    window = Window()
    first, _ = _opened(window, 0), _opened(window, 1)

    window.finish(first)
    window.finish(first)

    assert (window.base, len(window)) == (1, 1)


@given(offsets=gapped_offsets, data=st.data())
def test_the_base_lies_right_behind_what_is_done_at_the_head(offsets: list[int], data: st.DataObject) -> None:
    window, unopened, open_slots = Window(), list(reversed(offsets)), dict[int, Slot]()
    bases: list[int] = []

    while unopened or open_slots:
        if unopened and (not open_slots or data.draw(st.booleans())):
            offset = unopened.pop()
            open_slots[offset] = _opened(window, offset)
        else:
            offset = data.draw(st.sampled_from(sorted(open_slots)))
            window.finish(open_slots.pop(offset))

        opened = offsets[: len(offsets) - len(unopened)]
        first_open = min(open_slots, default=opened[-1] + 1)
        done_at_the_head = [offset for offset in opened if offset < first_open]
        assert window.base == (done_at_the_head[-1] + 1 if done_at_the_head else opened[0])
        bases.append(window.base)

    assert bases == sorted(bases)
    assert window.base == window.next_offset == offsets[-1] + 1
    assert len(window) == 0


@given(offsets=gapped_offsets, data=st.data())
def test_a_redelivered_offset_opens_nothing(offsets: list[int], data: st.DataObject) -> None:
    window = Window()
    slots = [_opened(window, offset) for offset in offsets]
    for slot in data.draw(st.lists(st.sampled_from(slots))):
        window.finish(slot)
    before = (window.base, window.next_offset, len(window))

    for offset in data.draw(st.lists(st.integers(0, offsets[-1]), min_size=1)):
        assert not window.follows(offset)
        assert window.open(offset) is None
    assert window.follows(offsets[-1] + 1)

    assert (window.base, window.next_offset, len(window)) == before


def _opened(window: Window, offset: int) -> Slot:
    slot = window.open(offset)
    assert slot is not None
    return slot
