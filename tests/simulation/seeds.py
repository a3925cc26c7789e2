"""Many seeds, on every core, up to the first that breaks a promise."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from simulation.run import Run, simulate

AT_ONCE = 20


@dataclass
class Summary:
    """What came about in all runs together, and the first run that failed."""

    seeds: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0
    failed: Run | None = None


def simulate_all(seeds: Sequence[int]) -> Summary:
    """Run seeds in order; where one fails, those after it are not waited for."""
    summary = Summary()
    # Spawned, for what a fork would copy here may hold threads.
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for run in pool.imap(_told_shortly, seeds, chunksize=AT_ONCE):
            summary.seeds += 1
            summary.counts += run.counts
            summary.virtual_s += run.virtual_s
            if run.faults:
                summary.failed = run
                break
    return summary


def _told_shortly(seed: int) -> Run:
    run = simulate(seed)
    return run if run.faults else replace(run, trace="")
