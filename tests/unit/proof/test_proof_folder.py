"""The folder of checkpoints: one history, whoever publishes, and whatever a crash left."""

from __future__ import annotations

import fcntl
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from proof_samples import KEY, bodies, checkpoint, log, positions

from services.proof import folder as folder_module
from services.proof.checkpoint import Checkpoint
from services.proof.errors import CheckpointFormatError, FolderError, NoteError
from services.proof.folder import HISTORY, LATEST, LOCK, CheckpointFolder
from services.proof.note import SigningKey

FIRST, SECOND, THIRD = (
    checkpoint(log(*[positions(UUID(int=n), bodies(UUID(int=n), 2), n) for n in range(1, count + 1)]))
    for count in (1, 2, 3)
)


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "made" / "when needed", KEY.public)


def published(folder: CheckpointFolder, *checkpoints: Checkpoint) -> None:
    previous = folder.newest()
    for one in checkpoints:
        assert folder.publish(previous, one.signed(KEY))
        previous = one


def test_what_was_published_is_the_newest(folder: CheckpointFolder) -> None:
    assert folder.newest() is None
    published(folder, FIRST, SECOND, THIRD)
    assert folder.newest() == THIRD
    assert folder.history() == [FIRST, SECOND, THIRD]
    assert folder.newest_note() == THIRD.signed(KEY) == (folder.path / LATEST).read_text(encoding="utf-8")


def test_who_slept_publishes_nothing(folder: CheckpointFolder) -> None:
    published(folder, FIRST, THIRD)
    assert not folder.publish(FIRST, SECOND.signed(KEY))
    assert not folder.publish(None, FIRST.signed(KEY))
    assert folder.history() == [FIRST, THIRD]


def test_a_note_that_a_crash_cut_off_was_never_published(folder: CheckpointFolder) -> None:
    published(folder, FIRST)
    whole = (folder.path / HISTORY).read_bytes()
    torn = SECOND.signed(KEY).encode()
    for length in range(1, len(torn)):
        (folder.path / HISTORY).write_bytes(whole + torn[:length])
        assert folder.newest() == FIRST
        assert folder.history() == [FIRST]
    published(folder, THIRD)
    assert folder.history() == [FIRST, THIRD]


def test_the_first_note_can_be_cut_off_too(folder: CheckpointFolder) -> None:
    folder.path.mkdir(parents=True)
    (folder.path / HISTORY).write_bytes(FIRST.signed(KEY).encode()[:70])
    published(folder, FIRST)
    assert folder.history() == [FIRST]


def test_a_crash_before_latest_was_replaced_is_mended(folder: CheckpointFolder) -> None:
    published(folder, FIRST, SECOND)
    (folder.path / LATEST).write_text(FIRST.signed(KEY), encoding="utf-8")
    assert folder.newest() == SECOND
    published(folder, THIRD)
    assert (folder.path / LATEST).read_text(encoding="utf-8") == THIRD.signed(KEY)


def test_a_history_that_was_cut_is_noticed(folder: CheckpointFolder) -> None:
    published(folder, FIRST, SECOND)
    (folder.path / HISTORY).write_bytes(FIRST.signed(KEY).encode() + b"\n")
    with pytest.raises(FolderError, match="is not in"):
        folder.newest()
    (folder.path / HISTORY).unlink()
    with pytest.raises(FolderError, match="is not in"):
        folder.publish(None, FIRST.signed(KEY))


def test_more_than_the_end_of_a_long_history_is_not_read_for_the_newest(folder: CheckpointFolder) -> None:
    previous = None
    for size in range(1, 400):
        one = Checkpoint("waybill/test", size, bytes(32), 7, bytes(32), FIRST.time)
        assert folder.publish(previous, one.signed(KEY))
        previous = one
    assert (folder.path / HISTORY).stat().st_size > 2 * 64 * 1024 // 2
    assert folder.newest() == previous
    assert len(folder.history()) == 399


def test_checkpoints_of_another_key_are_refused(folder: CheckpointFolder) -> None:
    other = SigningKey("waybill/test", Ed25519PrivateKey.generate())
    published(folder, FIRST)
    with pytest.raises(NoteError):
        CheckpointFolder(folder.path, other.public).newest()


def test_one_publishes_at_a_time(folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "LOCK_PATIENCE_S", 0.0)
    published(folder, FIRST)
    with (folder.path / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FolderError, match="another notary"):
            folder.publish(FIRST, SECOND.signed(KEY))
    published(folder, SECOND)


@pytest.mark.parametrize(
    "text",
    [
        "",
        FIRST.text().replace("\n2\n", "\n02\n"),
        FIRST.text().replace("\n2\n", "\n-2\n"),
        FIRST.text().replace("\n2\n", "\ntwo\n"),
        FIRST.text().replace("system 7\n", ""),
        FIRST.text().replace("system 7\n", "system seven\n"),
        FIRST.text().replace("time 2026", "time soon 2026"),
        "\n".join(FIRST.text().splitlines()[:3]) + "\n",
        FIRST.text().replace(FIRST.text().splitlines()[2], "AAAA"),
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(CheckpointFormatError):
        Checkpoint.parse(text)


def test_lines_of_later_releases_are_ignored() -> None:
    assert Checkpoint.parse(FIRST.text() + "more to come\n") == FIRST


def test_a_checkpoint_is_signed_under_its_own_name() -> None:
    other = SigningKey("somebody/else", Ed25519PrivateKey.generate())
    with pytest.raises(CheckpointFormatError, match="is signed by"):
        Checkpoint.opened(other.sign(FIRST.text()), other.public)
