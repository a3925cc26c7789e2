"""Every planted bug is caught: what the suites promise to find, they find."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mutation.mutants import FENCE, MUTANTS, SIMULATION, Mutant
from support.servers import Servers
from support.stack_jobs import long_or

ROOT = Path(__file__).parents[2]
PARTS = ("config", "schemas", "services", "tests", "pyproject.toml")
SEEDS = "0:1000"
PATIENCE_S = 600
FOUND = 1
"""The exit status of both suites where something is wrong with the code, and not with the run."""


def suite(mutant: Mutant) -> list[str]:
    """Return the command that has to fail."""
    if mutant.suite == SIMULATION:
        return [sys.executable, "-m", "simulation", "--seeds", SEEDS]
    return [sys.executable, "-m", "pytest", "--exitfirst", mutant.suite]


# The law of the fence shrinks what it finds, which takes its time: every day the others.
CHOSEN = [mutant for mutant in MUTANTS if mutant.suite != FENCE or long_or(0, 1)]


@pytest.mark.parametrize("mutant", CHOSEN, ids=[mutant.name for mutant in CHOSEN])
def test_the_bug_is_caught(mutant: Mutant, tmp_path: Path, servers: Servers) -> None:
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    mutant.plant(tmp_path)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{tmp_path / 'tests'}",
        "DATABASE_URL": servers.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": servers.kafka_bootstrap_servers,
    }
    done = subprocess.run(
        suite(mutant), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == FOUND, f"{mutant.name} is not caught:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert mutant.shows in done.stdout, done.stdout[-2000:]
