"""PostgreSQL's data folder: whose it is, and what an earlier server left in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.standalone.errors import ForeignServerError, PostgresVersionError, StackStartError
from services.standalone.ports import Ports
from services.standalone.postgres import EmbeddedPostgres, major_version
from services.standalone.state import StateFolder


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    made = StateFolder.at(tmp_path / "state")
    made.create()
    (made.postgres / "data").mkdir(parents=True)
    (made.postgres / "data" / "PG_VERSION").write_text(f"{major_version()}\n")
    return made


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


async def test_a_data_folder_of_another_major_version_is_refused(folder: StateFolder) -> None:
    (folder.postgres / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(PostgresVersionError, match="made by PostgreSQL 12; this is PostgreSQL") as raised:
        await EmbeddedPostgres(folder, Ports({})).prepare()
    assert "--state-dir" in raised.value.hint
    assert str(folder.postgres) in raised.value.hint


async def test_a_database_without_its_password_is_refused(folder: StateFolder) -> None:
    with pytest.raises(StackStartError, match="password of the database is gone"):
        await EmbeddedPostgres(folder, Ports({})).prepare()


def clear(folder: StateFolder) -> None:
    before = EmbeddedPostgres(folder, Ports({})).spec().before
    assert before is not None
    before()


def test_a_pid_file_whose_process_id_another_program_has_now_is_removed(
    folder: StateFolder, stranger: subprocess.Popen[bytes]
) -> None:
    pid_file = folder.postgres / "data" / "postmaster.pid"
    pid_file.write_text(f"{stranger.pid}\n{folder.postgres / 'data'}\n")
    clear(folder)
    assert not pid_file.exists()


def test_a_pid_file_whose_process_is_gone_is_left_to_postgresql(
    folder: StateFolder, stranger: subprocess.Popen[bytes]
) -> None:
    stranger.kill()
    stranger.wait()
    pid_file = folder.postgres / "data" / "postmaster.pid"
    pid_file.write_text(f"{stranger.pid}\n")
    clear(folder)
    assert pid_file.exists()


def test_a_server_that_somebody_else_started_there_is_left_alone(folder: StateFolder, tmp_path: Path) -> None:
    data = folder.postgres / "data"
    lookalike = tmp_path / "postgres"
    sleep = shutil.which("sleep")
    assert sleep is not None
    shutil.copy(os.path.realpath(sleep), lookalike)
    server = subprocess.Popen(["postgres", "600"], executable=lookalike)
    try:
        (data / "postmaster.pid").write_text(f"{server.pid}\n")
        clear(folder)
        assert not (data / "postmaster.pid").exists(), "a server of another folder only has the same process id"
    finally:
        server.kill()
        server.wait()
    server = subprocess.Popen([str(data), "600"], executable=lookalike)
    try:
        (data / "postmaster.pid").write_text(f"{server.pid}\n")
        with pytest.raises(ForeignServerError, match=str(server.pid)):
            clear(folder)
        assert server.poll() is None
    finally:
        server.kill()
        server.wait()
