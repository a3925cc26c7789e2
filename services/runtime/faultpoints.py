"""Fault points: named places at every effect boundary, where a fault test lets the process die or freeze.

A point is armed by a file of its name in the folder that ``WAYBILL_FAULT_DIR`` names: its content is the signal and at
which passing it strikes, as in ``KILL 3``. The process that strikes renames the file to ``<name>.hit`` first: so one
process strikes once, and the test sees that it did. Without the folder, as in every real deployment, nothing happens.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Final


class FaultPoint(StrEnum):
    """Every place; the part before the dot is the service that passes it."""

    CLASSIFIER_POLLED = "classifier.polled"
    CLASSIFIER_KEYS_STORED = "classifier.keys_stored"
    CLASSIFIER_APPENDED = "classifier.appended"
    CLASSIFIER_STORED = "classifier.stored"
    CLASSIFIER_PRODUCED = "classifier.produced"

    ROUTER_POLLED = "router.polled"
    ROUTER_STORED = "router.stored"
    ROUTER_PRODUCED = "router.produced"
    ROUTER_RELEASE_APPENDED = "router.release_appended"
    ROUTER_RELEASE_STORED = "router.release_stored"
    ROUTER_RELEASE_PRODUCED = "router.release_produced"

    EXECUTOR_JOB_READ = "executor.job_read"
    EXECUTOR_CLAIM_STORED = "executor.claim_stored"
    EXECUTOR_ANSWERED = "executor.answered"
    EXECUTOR_SPOOLED = "executor.spooled"
    EXECUTOR_ANSWER_STORED = "executor.answer_stored"
    EXECUTOR_HELD_STORED = "executor.held_stored"
    EXECUTOR_ASIDE_STORED = "executor.aside_stored"
    EXECUTOR_OUTCOME_PRODUCED = "executor.outcome_produced"
    EXECUTOR_OFFSETS_COMMITTED = "executor.offsets_committed"
    EXECUTOR_RECOVERED = "executor.recovered"

    RECORDER_POLLED = "recorder.polled"
    RECORDER_SEAL_APPENDED = "recorder.seal_appended"
    RECORDER_SEALED = "recorder.sealed"
    RECORDER_PUBLISHED = "recorder.published"
    RECORDER_STORED = "recorder.stored"
    RECORDER_PRODUCED = "recorder.produced"
    RECORDER_FEEDBACK_POLLED = "recorder.feedback_polled"
    RECORDER_FEEDBACK_STORED = "recorder.feedback_stored"
    RECORDER_FEEDBACK_PRODUCED = "recorder.feedback_produced"
    RECORDER_LATE_APPENDED = "recorder.late_appended"
    RECORDER_SWEEP_STORED = "recorder.sweep_stored"
    RECORDER_SWEEP_PRODUCED = "recorder.sweep_produced"
    RECORDER_ERASURE_LOGGED = "recorder.erasure_logged"
    RECORDER_ERASURE_BEGUN = "recorder.erasure_begun"
    RECORDER_ERASURE_KEYS_DELETED = "recorder.erasure_keys_deleted"
    RECORDER_POSITIONS_FOUND = "recorder.positions_found"
    RECORDER_POSITIONS_STORED = "recorder.positions_stored"
    RECORDER_CHECKPOINT_SIGNED = "recorder.checkpoint_signed"


_passings: Final[Counter[str]] = Counter()
_watched: Final[list[Path]] = []
HIT: Final = ".hit"


def watch(folder: Path | None) -> None:
    """Heed the points that are armed in this folder; None heeds nothing."""
    _watched[:] = [] if folder is None else [folder]


def reach(point: FaultPoint) -> None:
    """Pass a point; where it is armed and this is the passing it waits for, the process gets its signal here."""
    for folder in _watched:
        _strike_if_armed(folder / point)


def _strike_if_armed(armed: Path) -> None:
    try:
        name, passing = armed.read_text().split()
    except FileNotFoundError:
        return
    _passings[armed.name] += 1
    if _passings[armed.name] < int(passing):
        return
    try:
        armed.rename(armed.with_name(armed.name + HIT))
    except FileNotFoundError:
        return  # another process was faster
    _passings[armed.name] = 0
    os.kill(os.getpid(), signal.Signals[f"SIG{name}"])
