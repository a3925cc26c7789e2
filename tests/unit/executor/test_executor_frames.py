"""The frames of a spool file: whatever is cut off or damaged, every other answer is found."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.executor import frames


class Step(NamedTuple):
    """One frame: an answer, or, without a payload, that it is done."""

    claim: UUID
    payload: bytes | None

    @property
    def frame(self) -> bytes:
        """Its bytes."""
        return frames.done(self.claim) if self.payload is None else frames.answer(self.claim, self.payload)


claims = st.integers(1, 4).map(lambda number: UUID(int=number))
# Payloads that look like frames, too; their facts come first, so that none begins with the rest of a frame's start.
payloads = st.binary(max_size=80) | st.builds(frames.answer, claims, st.binary(max_size=9)).map(
    lambda frame: b"{" + frame[1:]
)
logs = st.lists(st.builds(Step, claims, st.none() | payloads), max_size=8)


def outstanding(steps: list[Step]) -> dict[UUID, bytes]:
    """Return what has not been done after these steps."""
    found: dict[UUID, bytes] = {}
    for step in steps:
        if step.payload is None:
            found.pop(step.claim, None)
        else:
            found[step.claim] = step.payload
    return found


def read(data: bytes) -> dict[UUID, bytes]:
    """Return the payloads that are outstanding in a file."""
    return {claim: data[begin:end] for claim, (begin, end) in frames.read(data).outstanding.items()}


@given(steps=logs, data=st.data())
def test_a_file_cut_off_anywhere_holds_exactly_what_was_whole(steps: list[Step], data: st.DataObject) -> None:
    whole = b"".join(step.frame for step in steps)
    length = data.draw(st.integers(0, len(whole)))
    ends = [sum(len(step.frame) for step in steps[: count + 1]) for count in range(len(steps))]
    written = [step for step, end in zip(steps, ends, strict=True) if end <= length]

    log = frames.read(whole[:length])

    assert read(whole[:length]) == outstanding(written)
    assert log.damaged == 0


@given(steps=logs.filter(bool), data=st.data())
def test_a_damaged_frame_costs_no_other(steps: list[Step], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(steps) - 1))
    hurt = bytearray(steps[index].frame)
    place = data.draw(st.integers(0, len(hurt) - 1))
    hurt[place] ^= data.draw(st.integers(1, 255))
    file = b"".join(step.frame for step in steps[:index]) + bytes(hurt)
    file += b"".join(step.frame for step in steps[index + 1 :])

    log = frames.read(file)

    assert read(file) == outstanding(steps[:index] + steps[index + 1 :])
    looks_cut_short = index == len(steps) - 1 and log.damaged == 0
    assert log.damaged == 1 or looks_cut_short, "it went unnoticed"


@given(data=st.binary(max_size=200))
def test_any_bytes_can_be_read(data: bytes) -> None:
    assert frames.read(data).outstanding == {}
