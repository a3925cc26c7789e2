"""The state folder: private files, one holder of the lock, statuses that survive nonsense."""

from __future__ import annotations

import base64
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.standalone.errors import StackBusyError
from services.standalone.state import LOG_KEPT_BYTES, StateFolder, StateLock
from services.standalone.status import ProcessRef, StackState, StackStatus


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    made = StateFolder.at(tmp_path / "state")
    made.create()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_private_and_the_master_key_is_made_once(folder: StateFolder) -> None:
    key = folder.master_key.read_text()
    assert len(base64.b64decode(key, validate=False)) == 32
    assert mode(folder.master_key) == 0o600
    assert mode(folder.secrets) == 0o700
    folder.create()
    assert folder.master_key.read_text() == key


def test_a_status_comes_back_as_written_and_only_its_owner_may_read_it(folder: StateFolder) -> None:
    status = StackStatus(state=StackState.READY, state_dir=str(folder.root), database_url="postgresql://u:p@h/d")
    folder.write_status(status)
    assert folder.read_status() == status
    assert mode(folder.root / "state.json") == 0o600


@pytest.mark.parametrize("content", ["", "{", '{"state": "unheard-of"}'])
def test_a_status_file_that_makes_no_sense_says_down(folder: StateFolder, content: str) -> None:
    (folder.root / "state.json").write_text(content)
    assert folder.read_status().state is StackState.DOWN


def test_a_folder_that_is_not_there_is_down_and_not_held(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path / "nowhere")
    assert folder.read_status().state is StackState.DOWN
    assert not StateLock.held(folder)
    assert not folder.root.exists()


def test_one_holder_at_a_time(folder: StateFolder) -> None:
    lock = StateLock.take(folder)
    assert StateLock.held(folder)
    with pytest.raises(StackBusyError):
        StateLock.take(folder)
    lock.close()
    assert not StateLock.held(folder)


def test_a_child_that_inherits_the_lock_keeps_it_until_it_ends(folder: StateFolder) -> None:
    lock = StateLock.take(folder)
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,), text=True
    )
    lock.close()
    assert StateLock.held(folder)
    child.communicate("\n", timeout=30)
    assert not StateLock.held(folder)


def test_a_long_log_is_set_aside(folder: StateFolder) -> None:
    path = folder.log("kafka")
    path.write_bytes(b"x" * (LOG_KEPT_BYTES + 1))
    with open(folder.open_log("kafka"), "w") as log:
        log.write("new\n")
    assert path.read_text().splitlines()[1:] == ["new"]
    assert path.with_suffix(".log.1").stat().st_size == LOG_KEPT_BYTES + 1


def test_the_end_of_a_log_is_its_last_lines(folder: StateFolder) -> None:
    folder.log("kafka").write_text("".join(f"line {number}\n" for number in range(5000)))
    assert folder.log_tail("kafka", lines=2) == "line 4998\nline 4999"
    assert folder.log_tail("never-started") == ""


def test_the_end_of_a_log_says_nothing_of_an_earlier_start(folder: StateFolder) -> None:
    for said in ("No space left on device\n", ""):
        with open(folder.open_log("kafka"), "w") as log:
            log.write(said)
    assert folder.log_tail("kafka") == ""


def test_who_only_looks_at_the_lock_is_in_nobodys_way(folder: StateFolder) -> None:
    with ThreadPoolExecutor() as pool:
        looking = [pool.submit(StateLock.held, folder) for _ in range(500)]
        for _ in range(50):
            StateLock.take(folder).close()
    assert not StateLock.held(folder)
    assert all(isinstance(look.result(), bool) for look in looking)


def test_a_process_is_known_by_its_start_too() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True)
    ref = ProcessRef.of(child.pid)
    assert ref is not None
    assert ref.find() is not None
    assert ProcessRef(pid=child.pid, started=ref.started - 3600).find() is None
    child.communicate("\n", timeout=30)
    assert ref.find() is None
