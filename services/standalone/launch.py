"""Starting a program so that it dies with the supervisor, and saying what was wrong when it failed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from services.runtime.errors import WaybillError
from services.standalone import guard
from services.standalone.errors import NO_SPACE, DiskFullError, ProcessEndedError, ProcessNotReadyError
from services.standalone.state import StateFolder


async def spawn(
    arguments: tuple[str, ...],
    *,
    output: int,
    environment: Mapping[str, str],
    directory: Path | None = None,
    user: tuple[int, int] | None = None,
    orphan_signal: signal.Signals = signal.SIGKILL,
    watch_pipe: bool = sys.platform != "linux",
) -> asyncio.subprocess.Process:
    """Start a program that dies with this process; in a session of its own, so that Ctrl-C reaches only us.

    Must be called from the main thread: Linux sends the parent-death signal when the *thread* that forked ends.
    """
    pipe = _supervisor_pipe() if watch_pipe else None
    guarded = (
        *(sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(int(orphan_signal))),
        "-" if user is None else f"{user[0]}:{user[1]}",
        "-" if pipe is None else str(pipe),
        *arguments,
    )
    return await asyncio.create_subprocess_exec(
        *guarded,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**os.environ, **environment},
        cwd=directory,
        start_new_session=True,
        pass_fds=() if pipe is None else (pipe,),
    )


_pipe: tuple[int, int] | None = None


def _supervisor_pipe() -> int:
    """Return the reading end of a pipe whose writing end closes with this process."""
    global _pipe  # noqa: PLW0603 - one for the life of the process: that is its meaning
    if _pipe is None:
        _pipe = os.pipe()
    return _pipe[0]


async def run_once(
    name: str,
    arguments: tuple[str, ...],
    folder: StateFolder,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    user: tuple[int, int] | None = None,
    seconds: float = 120.0,
) -> None:
    """Run a program to its end, its output going to the log ``name``.

    Raises :class:`ProcessEndedError` when it fails, :class:`ProcessNotReadyError` when it takes longer than
    ``seconds``, :class:`DiskFullError` when that is what it complained about.
    """
    output = folder.open_log(name)
    try:
        process = await spawn(arguments, output=output, environment=environment or {}, directory=directory, user=user)
    finally:
        os.close(output)
    try:
        code = await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        raise ProcessNotReadyError(
            f"{name} was not done after {seconds:.0f} s. Its log {log_end(folder, name)}"
        ) from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code != 0:
        raise failure(folder, name, f"{name} failed", code)


def log_end(folder: StateFolder, name: str) -> str:
    """Return the end of a sentence about a log: where it is and its last lines."""
    tail = folder.log_tail(name)
    return f"{folder.log(name)} ends:\n{tail}" if tail else f"{folder.log(name)} is empty."


def failure(folder: StateFolder, name: str, what: str, code: int) -> WaybillError:
    """Return the error for a program that ended with ``code``, negative for a signal: what was wrong, from its log."""
    if NO_SPACE in folder.log_tail(name):
        return DiskFullError(f"The disk is full: {name} could not write in {folder.root}.")
    how = f"signal {-code}" if code < 0 else f"exit status {code}"
    return ProcessEndedError(f"{what} ({how}). Its log {log_end(folder, name)}")
