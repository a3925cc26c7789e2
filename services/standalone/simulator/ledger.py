"""The charge ledger: an append-only JSONL file, durable before any answer is sent.

**Group commit.** One thread writes and syncs; while it does, arriving charges gather and become the next group, so that
one sync serves them all and the event loop goes on. **Authority**: a charge counts once its line, newline included, is
in the file. **Failure**: after a failed write or sync the ledger refuses every further charge, because it can no longer
say what is durable; a line torn by a crash has no newline, is ignored by readers and cut off by the next opening.

A line holds ids, counts and digests, never any text of a request or an answer.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import orjson
from pydantic import TypeAdapter, ValidationError

from services.runtime.durable import sync_folder
from services.runtime.errors import WaybillError
from services.standalone.simulator.calls import Outcome


class LedgerError(WaybillError):
    """The charge ledger cannot be used."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One call that the simulated provider ran and charged.

    ``charge_id`` is also the answer's ``x-request-id``. ``attempt`` is what the client sent as ``x-waybill-attempt``.
    ``digest`` is the SHA-256 of the request body, in hex; ``nth`` counts the runs of that body from 1.
    """

    charge_id: str
    at: datetime
    model: str
    digest: str
    nth: int
    attempt: str | None
    prompt_tokens: int
    completion_tokens: int
    outcome: Outcome


@dataclass(slots=True)
class LedgerTotals:
    """Sums over all charges of the file. ``groups`` and ``largest_group`` count the commits of this process only."""

    charges: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    by_model: Counter[str] = field(default_factory=Counter)
    by_outcome: Counter[str] = field(default_factory=Counter)
    groups: int = 0
    largest_group: int = 0

    def add(self, charge: Charge) -> None:
        """Count one more charge."""
        self.charges += 1
        self.prompt_tokens += charge.prompt_tokens
        self.completion_tokens += charge.completion_tokens
        self.by_model[charge.model] += 1
        self.by_outcome[charge.outcome] += 1


_CHARGE = TypeAdapter(Charge)


def read_ledger(path: Path | str) -> list[Charge]:
    """Every charge in a ledger file, in the order written; a torn last line is no charge.

    Safe while a simulator writes. Raises :class:`LedgerError` where the file is missing or any other line is damaged.
    """
    return list(_charges(Path(path)))


def _charges(path: Path) -> Iterator[Charge]:
    try:
        lines = path.open("rb")
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror}", hint="Give the file that --ledger named.") from error
    with lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield _CHARGE.validate_json(line)
            except ValidationError:
                raise LedgerError(f"{path}: line {number} is not a charge", hint="The file was altered.") from None


_Waiting: TypeAlias = tuple[Charge, "asyncio.Future[None]"]


class Ledger:
    """The writing side; one at a time per file. Used from one event loop."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, cut off a torn last line, and count what is there; blocks while it does."""
        self.path = path
        self.totals = LedgerTotals()
        self.failure: OSError | None = None
        self._fd = _open_locked(path)
        try:
            _cut_torn_line(self._fd)
            for charge in _charges(path):
                self.totals.add(charge)
        except BaseException:
            os.close(self._fd)
            raise
        self._waiting: list[_Waiting] = []
        self._commit: asyncio.Future[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="charge-ledger")

    def append(self, charge: Charge) -> asyncio.Future[None]:
        """Append a charge; the future is done once it is durable, or carries :class:`LedgerError` if it never will be.

        Raises :class:`LedgerError` at once where the ledger has failed before.
        """
        if self.failure is not None:
            raise self._error(self.failure)
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((charge, durable))
        if self._commit is None:
            self._commit_waiting()
        return durable

    async def close(self) -> None:
        """Make durable what is waiting, then release the file."""
        while self._commit is not None:
            await asyncio.wait([self._commit])
        self._thread.shutdown()
        os.close(self._fd)

    def _commit_waiting(self) -> None:
        group, self._waiting = self._waiting, []
        self._commit = asyncio.get_running_loop().run_in_executor(self._thread, self._write, group)
        self._commit.add_done_callback(lambda commit: self._committed(group, commit))

    def _write(self, group: list[_Waiting]) -> None:
        lines = memoryview(b"".join(orjson.dumps(charge, option=orjson.OPT_APPEND_NEWLINE) for charge, _ in group))
        while lines:
            lines = lines[os.write(self._fd, lines) :]
        os.fsync(self._fd)

    def _committed(self, group: list[_Waiting], commit: asyncio.Future[None]) -> None:
        self._commit = None
        failure = commit.exception()
        if failure is not None:
            self.failure = failure if isinstance(failure, OSError) else OSError(repr(failure))
            group, self._waiting = group + self._waiting, []
        else:
            self.totals.groups += 1
            self.totals.largest_group = max(self.totals.largest_group, len(group))
            if self._waiting:
                self._commit_waiting()
        for charge, durable in group:
            if self.failure is None:
                self.totals.add(charge)
            if durable.done():  # its call was cancelled: the client left, the charge stays
                continue
            if self.failure is None:
                durable.set_result(None)
            else:
                durable.set_exception(self._error(self.failure))

    def _error(self, failure: OSError) -> LedgerError:
        return LedgerError(
            f"{self.path}: {failure.strerror or failure}", hint="Make room and start the simulator again."
        )


def _open_locked(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror}", hint="Name a ledger file in a writable directory.") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise LedgerError(
            f"{path} is in use by another simulator", hint="Stop that one, or name another ledger file."
        ) from error
    sync_folder(path.parent)
    return fd


def _cut_torn_line(fd: int) -> None:
    size = end = os.fstat(fd).st_size
    newline = -1
    while end > 0 and newline < 0:
        start = max(0, end - 65_536)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        end = start
    whole = end + newline + 1
    if whole < size:
        os.ftruncate(fd, whole)
        os.fsync(fd)
