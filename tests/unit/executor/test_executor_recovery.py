"""Recovery: what a dead process left on disk is recorded as it would have recorded it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from executor_answers import OUTPUT, an_answer_in_hand, answer_of, claim_of_entry, cut_off, left_behind, spool_of
from executor_fake_ledger import RECORD, FakeLedger

from schemas.codes import EntryKind
from services.executor import frames
from services.executor.in_hand import InHand
from services.executor.recording import Recording
from services.executor.recovery import Recovery
from services.executor.store import AppendRequest
from services.runtime import vault
from services.runtime.kafka import Outgoing
from services.runtime.ledger import ChainHead, Entry
from services.runtime.master_keys import MasterKeyError
from services.runtime.telemetry import Telemetry

WAKE = Outgoing("somewhere", None, b"go on")


class Desk:
    """A process that recovers, on a ledger that it may share with others."""

    def __init__(self, folder: Path, ledger: FakeLedger | None = None) -> None:
        self.folder = folder
        self.ledger = ledger or FakeLedger()
        self.telemetry = Telemetry("executor")
        self.sent: list[Outgoing] = []
        self.error: Exception | None = None
        store: Any = self.ledger
        wakeups: Any = self
        recording = Recording(store, spool_of(folder), self.telemetry)
        self.recovery = Recovery(folder, recording, store, wakeups, self.send, self.telemetry)

    def for_chain(self, chain: list[Entry]) -> Outgoing:
        """Return what the chain calls for."""
        assert chain == self.ledger.chain
        return WAKE

    async def send(self, message: Outgoing) -> None:
        """Wake, or die at it."""
        if self.error is not None:
            raise self.error
        self.sent.append(message)

    def counted(self, event: str) -> float:
        """Return how often an event happened."""
        return self.telemetry.registry.get_sample_value("waybill_executor_events_total", {"event": event}) or 0

    def answered(self, outcome: str = "ok") -> InHand:
        """Claim a call, and return what it brought."""
        entry = self.ledger.claimed_by(uuid4())
        return answer_of(claim_of_entry(entry), entry.head, self.ledger.key, RECORD, outcome=outcome)

    @property
    def files(self) -> list[str]:
        """What lies in the folder."""
        return sorted(path.suffix for path in self.folder.iterdir())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_an_answer_goes_behind_its_claim_and_wakes_who_goes_on(desk: Desk) -> None:
    await left_behind(desk.folder, desk.answered())

    assert await desk.recovery.recover() == 1
    assert desk.ledger.kinds == [EntryKind.ATTEMPT_STARTED, EntryKind.ATTEMPT_FINISHED, EntryKind.VALIDATED]
    (content,) = desk.ledger.contents
    assert desk.ledger.key.decrypt(content.entry_id, vault.OUTPUT, content.ciphertext) == OUTPUT
    assert desk.sent == [WAKE]
    assert desk.counted("answer_recovered") == 1
    assert desk.files == []
    assert await desk.recovery.recover() == 0


async def test_a_failure_is_recovered_too(desk: Desk) -> None:
    await left_behind(desk.folder, desk.answered("failed"))

    assert await desk.recovery.recover() == 1
    assert desk.ledger.kinds == [EntryKind.ATTEMPT_STARTED, EntryKind.ATTEMPT_FINISHED]
    assert desk.sent == [WAKE]


async def test_an_answer_that_was_stored_after_all_only_wakes(desk: Desk) -> None:
    answer = desk.answered()
    await desk.ledger.append(answer.append_request())
    await left_behind(desk.folder, answer)

    assert await desk.recovery.recover() == 1
    assert desk.ledger.kinds == [EntryKind.ATTEMPT_STARTED, EntryKind.ATTEMPT_FINISHED, EntryKind.VALIDATED]
    assert desk.ledger.asides == []
    assert desk.sent == [WAKE]


async def test_behind_others_it_goes_aside_with_its_cost_and_wakes_nobody(desk: Desk) -> None:
    answer = desk.answered()
    desk.ledger.claimed_by(uuid4(), may_double_pay=True)
    await left_behind(desk.folder, answer)

    assert await desk.recovery.recover() == 1
    assert desk.ledger.kinds == [EntryKind.ATTEMPT_STARTED] * 2
    (aside,) = desk.ledger.asides
    assert (aside.data["claim"], aside.data["cost_usd"]) == (str(answer.claim), "0.0007")
    assert aside.data["worker"] == str(answer.worker)
    assert aside.content is not None
    assert desk.ledger.key.decrypt(aside.entry_id, vault.OUTPUT, aside.content.ciphertext) == OUTPUT
    assert desk.sent == []
    assert desk.counted("answer_put_aside") == 1
    assert desk.files == []


async def test_who_went_on_behind_it_meanwhile_is_not_woken_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Recording.settle

    async def and_passed(self: Recording, answer: InHand) -> ChainHead | None:
        head = await settle(self, answer)
        desk.ledger.claimed_by(uuid4())
        return head

    monkeypatch.setattr(Recording, "settle", and_passed)
    await left_behind(desk.folder, desk.answered("failed"))

    assert await desk.recovery.recover() == 1
    assert desk.sent == []


async def test_of_an_erased_record_the_cost_is_left(desk: Desk) -> None:
    answer = desk.answered()
    desk.ledger.claimed_by(uuid4(), may_double_pay=True)
    desk.ledger.job = None
    await left_behind(desk.folder, answer)

    assert await desk.recovery.recover() == 1
    (aside,) = desk.ledger.asides
    assert aside.data["cost_usd"] == "0.0007"
    assert aside.content is None


async def test_what_its_owner_still_holds_is_left_alone(desk: Desk) -> None:
    spool = spool_of(desk.folder)
    await cut_off(spool, desk.answered())

    assert await desk.recovery.recover() == 0
    assert desk.ledger.kinds == [EntryKind.ATTEMPT_STARTED]

    await spool.close()
    assert await desk.recovery.recover() == 1


async def test_without_a_folder_there_is_nothing_to_recover(tmp_path: Path) -> None:
    assert await Desk(tmp_path / "none").recovery.recover() == 0


async def test_an_empty_file_of_a_dead_process_is_removed(desk: Desk) -> None:
    spool = spool_of(desk.folder)
    spool.path.touch()

    assert await desk.recovery.recover() == 0
    assert desk.files == []


# -- dying and sharing --------------------------------------------------------------------------------------------


async def test_a_recovery_that_dies_before_it_wakes_is_done_again(desk: Desk) -> None:
    answer = desk.answered()
    await left_behind(desk.folder, answer)
    desk.error = asyncpg.AdminShutdownError("gone")
    with pytest.raises(asyncpg.AdminShutdownError):
        await desk.recovery.recover()
    assert desk.files == [".spool"]

    again = Desk(desk.folder, desk.ledger)
    assert await again.recovery.recover() == 1
    assert again.sent == [WAKE]
    assert desk.ledger.kinds == [EntryKind.ATTEMPT_STARTED, EntryKind.ATTEMPT_FINISHED, EntryKind.VALIDATED]
    assert len(desk.ledger.contents) == 1


class AnotherRecord(FakeLedger):
    """A ledger with one more record, whose appends fail."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def read_chain(self, record_id: UUID) -> list[Entry]:
        """Return the one chain for both."""
        return list(self.chain)

    async def append(self, request: AppendRequest) -> list[Entry] | None:
        """Append, or fail."""
        if request.chain.entries[0].record_id != RECORD:
            raise self.error
        return await super().append(request)


async def test_a_deployment_that_has_to_be_mended_stops_it_and_the_file_stays(desk: Desk) -> None:
    desk = Desk(desk.folder, AnotherRecord(MasterKeyError("another key")))
    await left_behind(desk.folder, an_answer_in_hand(), desk.answered())
    with pytest.raises(MasterKeyError):
        await desk.recovery.recover()

    assert desk.counted("answer_recovered") == 1, "the others are recorded all the same"
    assert desk.files == [".spool"]


async def test_recoveries_at_the_same_time_share_the_files(desk: Desk) -> None:
    await left_behind(desk.folder, desk.answered())
    desks = [desk, *(Desk(desk.folder, desk.ledger) for _ in range(3))]

    assert sum(await asyncio.gather(*(one.recovery.recover() for one in desks))) == 1
    assert desk.ledger.kinds == [EntryKind.ATTEMPT_STARTED, EntryKind.ATTEMPT_FINISHED, EntryKind.VALIDATED]
    assert [message for one in desks for message in one.sent] == [WAKE]


async def test_a_recovery_that_is_stopped_lets_go_of_the_file(desk: Desk) -> None:
    await left_behind(desk.folder, desk.answered())
    started, never = asyncio.Event(), asyncio.Event()

    async def hang(message: Outgoing) -> None:
        started.set()
        await never.wait()

    desk.recovery._send = hang
    recovering = asyncio.create_task(desk.recovery.recover())
    await started.wait()
    recovering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recovering

    assert await Desk(desk.folder, desk.ledger).recovery.recover() == 1


# -- damage -------------------------------------------------------------------------------------------------------


async def test_a_frame_that_was_being_written_is_no_damage(desk: Desk) -> None:
    path = await left_behind(desk.folder, desk.answered())
    torn = an_answer_in_hand()
    with path.open("ab") as file:
        file.write(frames.answer(torn.claim, torn.pack())[:-1])

    assert await desk.recovery.recover() == 1
    assert desk.files == []
    assert desk.counted("spool_damaged") == 0


async def test_a_damaged_frame_is_kept_and_the_others_are_recovered(desk: Desk) -> None:
    damaged = an_answer_in_hand()
    path = await left_behind(desk.folder, damaged, desk.answered())
    frame = frames.answer(damaged.claim, damaged.pack())
    bytes_on_disk = path.read_bytes()
    assert bytes_on_disk.startswith(frame)
    path.write_bytes(bytes_on_disk.replace(b'"latency_ms":12', b'"latency_ms":13', 1))

    assert await desk.recovery.recover() == 1
    assert desk.ledger.kinds == [EntryKind.ATTEMPT_STARTED, EntryKind.ATTEMPT_FINISHED, EntryKind.VALIDATED]
    assert desk.files == [".damaged"]
    assert desk.counted("spool_damaged") == 1
    assert await desk.recovery.recover() == 0


async def test_an_answer_of_another_shape_is_kept(desk: Desk) -> None:
    path = await left_behind(desk.folder, desk.answered())
    with path.open("ab") as file:
        file.write(frames.answer(uuid4(), b'{"a newer": "release"}\n'))

    assert await desk.recovery.recover() == 1
    assert desk.files == [".damaged"]


async def test_an_answer_that_the_database_refuses_is_kept(desk: Desk) -> None:
    desk = Desk(desk.folder, AnotherRecord(asyncpg.DataError("refused")))
    await left_behind(desk.folder, an_answer_in_hand(), desk.answered())

    assert await desk.recovery.recover() == 1
    assert desk.files == [".damaged"]


async def test_an_answer_of_a_record_that_this_database_does_not_have_is_kept(desk: Desk) -> None:
    await left_behind(desk.folder, an_answer_in_hand(), desk.answered())

    assert await desk.recovery.recover() == 1
    assert desk.files == [".damaged"]
    assert desk.ledger.asides == []


async def test_an_output_that_does_not_decrypt_is_kept(desk: Desk) -> None:
    answer = desk.answered()
    desk.ledger.claimed_by(uuid4(), may_double_pay=True)
    await left_behind(desk.folder, answer)
    desk.ledger.key = type(desk.ledger.key)(RECORD, b"\1" * 48)

    assert await desk.recovery.recover() == 0
    assert desk.files == [".damaged"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every file")
async def test_a_file_that_may_not_be_opened_stops_nobody(desk: Desk) -> None:
    path = await left_behind(desk.folder, desk.answered())
    path.chmod(0)

    assert await desk.recovery.recover() == 0
    assert desk.counted("spool_failed") == 1


async def test_a_folder_in_place_of_a_file_stops_nobody(desk: Desk) -> None:
    (desk.folder / "a.spool").mkdir()
    await left_behind(desk.folder, desk.answered())

    assert await desk.recovery.recover() == 1
    assert desk.counted("spool_failed") == 1
