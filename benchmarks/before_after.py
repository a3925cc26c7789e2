"""What a change costs: the pipeline's benchmark of an earlier commit and of this checkout, in turn, in one run.

    python -m benchmarks.before_after REF [--rounds 3] [--requests 20000] [--json]

The earlier commit is checked out into a temporary worktree and run by the same interpreter with the same packages. Each
turn brings its own servers and measures its own bare floor, so that what is compared, requests per second over the
floor's and microseconds of CPU per request, says little about what else this machine did meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.harness import ROOT

Found = dict[str, Any]
"""What the pipeline's benchmark prints with ``--json``."""


@contextmanager
def checked_out(ref: str) -> Iterator[Path]:
    """Give a temporary worktree of a commit; it is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="waybill-before-") as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), ref], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def measured(tree: Path, requests: int) -> Found:
    """Run the pipeline's benchmark of a tree once; whatever it says about its progress goes to standard error."""
    command = [sys.executable, "-m", "benchmarks.pipeline", "--rounds", "1", "--requests", str(requests), "--json"]
    done = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, check=True)
    found: Found = orjson.loads(done.stdout)
    return found


def in_turn(before: Path, after: Path, *, rounds: int, requests: int) -> dict[str, list[Found]]:
    """Measure both in turn; who begins changes from round to round, so that a machine that slows down favours none."""
    runs: dict[str, list[Found]] = {"before": [], "after": []}
    for number in range(rounds):
        for name, tree in sorted({"before": before, "after": after}.items(), reverse=number % 2 == 0):
            sys.stderr.write(f"round {number + 1}, {name}\n")
            runs[name].append(measured(tree, requests))
    return runs


def middle(runs: Sequence[Found], *path: str) -> float:
    """Return the median of one figure over the rounds."""

    def figure(found: Any) -> float:
        for name in path:
            found = found[name]
        return float(found)

    return median(figure(run) for run in runs)


def table(runs: dict[str, list[Found]]) -> Table:
    """Return both columns and their quotient."""
    shown = Table("median of rounds", title="before and after, in one run")
    for column in ("before", "after", "after : before"):
        shown.add_column(column, justify="right")

    def row(label: str, *path: str, digits: int = 0) -> None:
        before, after = middle(runs["before"], *path), middle(runs["after"], *path)
        shown.add_row(label, f"{before:.{digits}f}", f"{after:.{digits}f}", f"{after / before:.2f}" if before else "")

    row("requests/s over the floor's", "ratio", digits=3)
    row("floor's CPU over ours", "cpu_ratio", digits=3)
    row("all CPU, µs per request", "waybill", "cpu_us_sum")
    for name in runs["after"][0]["waybill"]["cpu_us"]:
        row(f"{name}, µs per request", "waybill", "cpu_us", name)
    row("Postgres, bytes per request", "waybill", "database_bytes")
    return shown


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ref", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with checked_out(options.ref) as before:
        runs = in_turn(before, ROOT, rounds=options.rounds, requests=options.requests)
    if options.json:
        print(orjson.dumps(runs, option=orjson.OPT_INDENT_2).decode())
    else:
        Console().print(table(runs))


if __name__ == "__main__":
    main()
