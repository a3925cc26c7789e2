"""The spool: an answer is on disk while it cannot be recorded, and only then."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from executor_answers import PATIENCE_S, CutOffError, an_answer_in_hand, cut_off, spool_of, until
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from services.executor import frames
from services.executor import spool as spool_module
from services.executor.in_hand import InHand
from services.executor.spool import Spool, lock
from services.runtime.telemetry import Telemetry


def on_disk(spool: Spool) -> set[UUID]:
    """Return the claims whose answers a recovery would find."""
    return set(frames.read(spool.path.read_bytes()).outstanding) if spool.path.exists() else set()


def failures(telemetry: Telemetry) -> float:
    """Return how often writing failed."""
    return telemetry.registry.get_sample_value("waybill_executor_events_total", {"event": "spool_failed"}) or 0


class Disk:
    """The system calls that write a spool file, failing as they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fault = ""
        self._write, self._fsync = os.write, os.fsync
        monkeypatch.setattr(spool_module.os, "write", self.write)
        monkeypatch.setattr(spool_module.os, "fsync", self.fsync)

    def write(self, file: int, data: Any) -> int:
        """Write, or only a part, or nothing."""
        if self.fault == "full":
            raise OSError(errno.ENOSPC, "full")
        if self.fault == "part":
            self.fault = "full"
            return self._write(file, bytes(data)[: len(data) // 2])
        return self._write(file, data)

    def fsync(self, file: int) -> None:
        """Sync, or fail to."""
        if self.fault == "sync":
            raise OSError(errno.EIO, "broken")
        self._fsync(file)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk that can fail."""
    return Disk(monkeypatch)


class SlowDisk:
    """A disk that syncs when it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncing, self.may_sync = asyncio.Event(), asyncio.Event()
        self._loop, self._fsync = asyncio.get_running_loop(), os.fsync
        monkeypatch.setattr(spool_module.os, "fsync", self.fsync)

    def fsync(self, file: int) -> None:
        """Sync, in a thread, once it may."""
        self._loop.call_soon_threadsafe(self.syncing.set)
        asyncio.run_coroutine_threadsafe(self.may_sync.wait(), self._loop).result(PATIENCE_S)
        self._fsync(file)


@pytest_asyncio.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    """A disk that takes its time."""
    return SlowDisk(monkeypatch)


# -- when ---------------------------------------------------------------------------------------------------------


async def test_what_is_recorded_in_time_is_never_written(tmp_path: Path) -> None:
    spool = spool_of(tmp_path / "spool")
    async with spool.keeping(an_answer_in_hand(), at_once=False):
        await asyncio.sleep(0)

    assert not (tmp_path / "spool").exists()
    assert await spool.close() == 0


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_takes_long_is_on_disk_until_it_is_recorded(tmp_path: Path, at_once: bool) -> None:
    spool = spool_of(tmp_path, patience_s=30.0 if at_once else 0.01)
    answer = an_answer_in_hand()
    async with spool.keeping(answer, at_once=at_once):
        await until(lambda: spool.outstanding == 1)
        assert on_disk(spool) == {answer.claim}

    assert spool.outstanding == 0
    assert spool.path.read_bytes() == b""
    assert await spool.close() == 0
    assert not spool.path.exists()


@pytest.mark.parametrize("error", [asyncio.CancelledError, RuntimeError])
async def test_what_is_cut_off_is_on_disk_before_that_is_known(tmp_path: Path, error: type[BaseException]) -> None:
    spool = spool_of(tmp_path)
    answer = an_answer_in_hand()
    with pytest.raises(error):
        async with spool.keeping(answer, at_once=False):
            raise error

    assert on_disk(spool) == {answer.claim}
    assert await spool.close() == 1
    assert on_disk(spool) == {answer.claim}


async def test_cutting_off_what_is_on_disk_already_writes_nothing_more(tmp_path: Path) -> None:
    spool = spool_of(tmp_path)
    answer = an_answer_in_hand()
    spooled = asyncio.Event()

    async def record() -> None:
        async with spool.keeping(answer, at_once=True):
            await until(lambda: spool.outstanding == 1)
            spooled.set()
            await asyncio.Event().wait()

    recording = asyncio.create_task(record())
    await spooled.wait()
    size = spool.path.stat().st_size
    recording.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recording

    assert spool.path.stat().st_size == size
    await spool.close()


async def test_recorded_while_its_write_is_under_way_it_is_done_all_the_same(tmp_path: Path, slow: SlowDisk) -> None:
    spool = spool_of(tmp_path)
    first, second = an_answer_in_hand(1), an_answer_in_hand(2)

    async def record() -> None:
        async with spool.keeping(first, at_once=True):
            await slow.syncing.wait()
            asyncio.get_running_loop().call_soon(slow.may_sync.set)

    await asyncio.gather(record(), cut_off(spool, second))

    assert on_disk(spool) == {second.claim}
    assert await spool.close() == 1


async def test_recorded_before_its_write_has_begun_it_is_done_all_the_same(tmp_path: Path, slow: SlowDisk) -> None:
    spool = spool_of(tmp_path)
    first, second = an_answer_in_hand(1), an_answer_in_hand(2)

    async def record() -> None:
        await slow.syncing.wait()
        async with spool.keeping(first, at_once=True):
            await until(lambda: len(spool._changes._waiting) == 1)
            asyncio.get_running_loop().call_soon(slow.may_sync.set)

    await asyncio.gather(record(), cut_off(spool, second))

    assert on_disk(spool) == {second.claim}
    assert await spool.close() == 1


async def test_many_answers_are_written_with_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_of(tmp_path)
    await spool.open()
    syncs: list[int] = []
    monkeypatch.setattr(spool_module.os, "fsync", syncs.append)

    await cut_off(spool, *(an_answer_in_hand(number) for number in range(100)))

    assert len(syncs) == 1
    assert len(on_disk(spool)) == 100
    await spool.close()


# -- the file -----------------------------------------------------------------------------------------------------


async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    spool = spool_of(tmp_path / "spool")
    await spool.open()

    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.path.parent.stat().st_mode) == 0o700
    await spool.close()


async def test_it_can_be_taken_over_only_when_its_owner_has_let_go(tmp_path: Path) -> None:
    spool = spool_of(tmp_path)
    await cut_off(spool, an_answer_in_hand())
    assert lock(spool.path) is None

    await spool.close()
    file = lock(spool.path)
    assert file is not None
    assert lock(spool.path) is None, "two would recover it"
    os.close(file)


async def test_a_file_that_was_removed_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_of(tmp_path)
    flock, removed = spool_module.fcntl.flock, []

    def after_a_recovery(file: int, how: int) -> None:
        if not removed:
            removed.append(spool.path.unlink())
        flock(file, how)

    monkeypatch.setattr(spool_module.fcntl, "flock", after_a_recovery)
    await cut_off(spool, an_answer_in_hand())

    assert len(on_disk(spool)) == 1
    assert lock(spool.path) is None
    await spool.close()


# -- faults -------------------------------------------------------------------------------------------------------


async def test_a_folder_that_cannot_be_made_keeps_no_answer_from_being_recorded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    telemetry = Telemetry("executor")
    spool = spool_of(tmp_path / "file" / "spool", telemetry=telemetry)
    await spool.open()
    assert failures(telemetry) == 1

    async with spool.keeping(an_answer_in_hand(), at_once=True):
        await until(lambda: failures(telemetry) == 2)
    with pytest.raises(CutOffError):
        async with spool.keeping(an_answer_in_hand(), at_once=False):
            raise CutOffError
    assert failures(telemetry) == 3
    assert await spool.close() == 0


@pytest.mark.parametrize("fault", ["full", "part", "sync"])
async def test_what_could_not_be_written_is_written_when_the_disk_is_well_again(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(spool_module, "TRY_AGAIN_S", 0.001)
    telemetry = Telemetry("executor")
    spool = spool_of(tmp_path, telemetry=telemetry)
    before, answer = an_answer_in_hand(1), an_answer_in_hand(2)
    await cut_off(spool, before)
    disk.fault = fault
    async with spool.keeping(answer, at_once=True):
        await until(lambda: failures(telemetry) >= 1)
        assert spool.outstanding == 1
        disk.fault = ""
        await until(lambda: spool.outstanding == 2)
        log = frames.read(spool.path.read_bytes())
        assert (set(log.outstanding), log.damaged) == ({before.claim, answer.claim}, 0)
    assert on_disk(spool) == {before.claim}
    await spool.close()


faults = st.sampled_from(["", "", "full", "part", "sync"])
steps = st.lists(st.tuples(st.sampled_from(["cut off", "record"]), faults, faults), max_size=12)


@given(steps=steps)
@with_settings(max_examples=60)
async def test_whatever_fails_what_was_said_to_be_kept_is_found(steps: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        spool = spool_of(Path(folder))
        kept: set[UUID] = set()
        for number, (what, fault, later_fault) in enumerate(steps):
            answer = an_answer_in_hand(number)
            disk.fault = fault
            if what == "cut off":
                await cut_off(spool, answer)
                kept |= {answer.claim} if spool_has(spool, answer) else set()
            else:
                await slowly_recorded(spool, answer, lambda later=later_fault: setattr(disk, "fault", later))
                kept.discard(answer.claim)
            assert spool.outstanding == len(kept)
            assert frames.read(spool.path.read_bytes() if spool.path.exists() else b"").outstanding.keys() >= kept
        disk.fault = ""
        assert await spool.close() == len(kept)
        assert on_disk(spool) >= kept


def spool_has(spool: Spool, answer: InHand) -> bool:
    """Whether the spool believes that it keeps an answer."""
    return answer.claim in spool._outstanding


async def slowly_recorded(spool: Spool, answer: InHand, meanwhile: Callable[[], None]) -> None:
    """Record an answer after the spool has tried to write it."""
    async with spool.keeping(answer, at_once=True):
        counted = failures(spool._telemetry)
        await until(lambda: spool_has(spool, answer) or failures(spool._telemetry) > counted)
        meanwhile()
