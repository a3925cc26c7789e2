"""A notary that is stopped anywhere, replaced and woken: one history of checkpoints, each extending the one before."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import notary_process, sql
from support.notaries import folder, notary, record, signed, verified

from services.runtime.faultpoints import FaultPoint
from services.runtime.postgres import open_pool

_SQL = sql.load("notary")
BOUND_S = 120
ROOT = Path(__file__).parents[2]
POINTS = [
    FaultPoint.RECORDER_POSITIONS_FOUND,
    FaultPoint.RECORDER_POSITIONS_STORED,
    FaultPoint.RECORDER_CHECKPOINT_SIGNED,
]


async def _stopped(process: subprocess.Popen[str]) -> None:
    _, status = await asyncio.wait_for(asyncio.to_thread(os.waitpid, process.pid, os.WUNTRACED), BOUND_S)
    assert os.WIFSTOPPED(status), f"it ended with {status}"


def _start(database: str, path: Path) -> subprocess.Popen[str]:
    path_variable = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, notary_process.__file__, database, str(path), str(path), str(3 * 7)],
        env={**os.environ, "PYTHONPATH": path_variable},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("point", POINTS)
async def test_a_stopped_notary_that_wakes_publishes_nothing_older(database: str, tmp_path: Path, point: str) -> None:
    pool = await open_pool(database, service="test", size=3)
    await notary(pool, tmp_path).run_once()
    await record(pool, 3)
    (tmp_path / point).write_text("STOP 1")
    process = _start(database, tmp_path)
    try:
        await _stopped(process)
        await pool.execute(_SQL["end_open_transactions"])
        for records in (5, 7):
            await record(pool, 2)
            replaced = await signed(notary(pool, tmp_path), records * 7)
        process.send_signal(signal.SIGCONT)
        out, _ = await asyncio.to_thread(process.communicate, timeout=BOUND_S)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, int(out)) == (0, replaced.size)
    sizes = [checkpoint.size for checkpoint in folder(tmp_path).history()]
    assert sizes == sorted(set(sizes))
    assert folder(tmp_path).newest() == replaced
    found = await verified(pool, folder(tmp_path))
    assert (found.faults, found.checkpoints, found.uncovered) == ([], len(sizes), 0)
    await pool.close()


@pytest.mark.parametrize("point", POINTS)
async def test_a_killed_notary_leaves_nothing_that_the_next_cannot_sign(
    database: str, tmp_path: Path, point: str
) -> None:
    pool = await open_pool(database, service="test", size=3)
    await record(pool, 3)
    (tmp_path / point).write_text("KILL 1")
    process = _start(database, tmp_path)
    try:
        await asyncio.to_thread(process.communicate, timeout=BOUND_S)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    await signed(notary(pool, tmp_path), 3 * 7)
    found = await verified(pool, folder(tmp_path))
    assert (found.faults, found.uncovered) == ([], 0)
    await pool.close()
