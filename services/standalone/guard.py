"""Runs one program that cannot outlive the supervisor: ``guard.py PARENT SIGNAL USER PIPE PROGRAM ...``.

It replaces itself by the program, so the process id stays the same. On Linux the kernel sends SIGNAL when the parent
dies, in whatever way (``PR_SET_PDEATHSIG``). Elsewhere, where PIPE is given, a small watcher process holds the reading
end of a pipe that only the supervisor can write to: its end of file means that the supervisor is gone.

Only the standard library, and little of it: this starts before every process of the stack (``python -I -S``, 20 ms).

``PARENT``  process id of the supervisor · ``SIGNAL``  number of the signal to die by
``USER``    ``uid:gid`` to become, or ``-`` · ``PIPE``  file descriptor of the pipe, or ``-``
"""

from __future__ import annotations

import ctypes
import os
import select
import sys

# Loaded before the user changes: another user may not be allowed to read Python's own files.
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
WATCH_INTERVAL_SECONDS = 0.5
"""How soon a watcher whose program ended by itself goes away; the supervisor's end it sees at once."""


def become(user: str) -> None:
    """Give up root for ``uid:gid``, and let the files it makes be private."""
    uid, gid = (int(part) for part in user.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    os.umask(0o077)


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel for the signal. The setting is lost when the user changes, so this comes after :func:`become`."""
    if LIBC.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def watch_pipe(pipe: int, signal_number: int) -> None:
    """Fork the watcher, which signals this process, and later the program in its place, when ``pipe`` closes."""
    program = os.getpid()
    if os.fork() != 0:
        os.close(pipe)
        return
    os.setsid()
    while os.getppid() == program:
        readable, _, _ = select.select([pipe], [], [], WATCH_INTERVAL_SECONDS)
        if readable and not os.read(pipe, 1) and os.getppid() == program:
            os.kill(program, signal_number)
            break
    os._exit(0)


def main(arguments: list[str]) -> None:
    """Prepare this process and become the program; raises :class:`OSError` if it cannot be started."""
    parent, signal_number, user, pipe = int(arguments[0]), int(arguments[1]), arguments[2], arguments[3]
    program = arguments[4:]
    if user != "-":
        become(user)
    if pipe != "-":
        watch_pipe(int(pipe), signal_number)
    else:
        die_with_parent(signal_number)
    if os.getppid() != parent:
        sys.exit("the supervisor ended before its process started")
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
