"""``python -m simulation --seed N [--trace]`` runs one seed, ``--seeds A:B`` many, on every core."""

from __future__ import annotations

import argparse
import sys
import time

from simulation.run import Run, simulate
from simulation.seeds import simulate_all


def main() -> int:
    """Run what the arguments ask for; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int)
    which.add_argument("--seeds", help="A:B, the seeds from A to B-1")
    parser.add_argument("--trace", action="store_true", help="print what happened, also of a seed that went well")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _one(simulate(arguments.seed), trace=arguments.trace)
    first, last = (int(part) for part in arguments.seeds.split(":"))
    return _many(range(first, last))


def _one(run: Run, *, trace: bool) -> int:
    if trace or run.faults:
        print(run.trace, end="")
    for fault in run.faults:
        print(f"seed {run.seed}: {fault}")
    return int(bool(run.faults))


def _many(seeds: range) -> int:
    began = time.perf_counter()
    summary = simulate_all(seeds)
    seconds = time.perf_counter() - began
    for kind, count in sorted(summary.counts.items()):
        print(f"{count:>10}  {kind}")
    print(f"{summary.seeds} seeds, {summary.virtual_s / 3600:.1f} simulated hours in {seconds:.0f} s")
    return 0 if summary.failed is None else _one(summary.failed, trace=True)


if __name__ == "__main__":
    sys.exit(main())
