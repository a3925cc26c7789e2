"""The simulation: no seed breaks a promise, a seed is one history, and what is to be met is met."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.run import simulate
from simulation.seeds import Summary, simulate_all

SEEDS = int(os.environ.get("WAYBILL_SIMULATION_SEEDS", "1000"))
TESTS = Path(__file__).parents[1]
BOUND_S = 300

MET = {
    "classifier killed": 20,
    "router killed": 20,
    "executor killed": 40,
    "recorder killed": 20,
    "classifier frozen": 10,
    "router frozen": 10,
    "executor frozen": 40,
    "recorder frozen": 10,
    "clean stop": 40,
    "messages lost": 40,
    "offsets reset": 40,
    "database away": 40,
    "connection lost before": 40,
    "connection lost after": 40,
    "ambiguous commit": 20,
    "producer broken": 10,
    "batch given back": 40,
    "acknowledgement failed": 40,
    "a client's acknowledgement lost": 40,
    "slow round trip": 200,
    "cancel": 40,
    "replay": 20,
    "provider: lost": 20,
    "provider: hang": 10,
    "claim_in_doubt": 20,
    "held": 20,
    "released": 20,
    "verdict retry": 5,
    "verdict charged": 5,
    "verdict not_charged": 5,
    "swept": 10,
    "stale_outcome": 10,
    "answer_put_aside": 2,
    "answer_recovered": 1,
    "rebalance with calls in flight": 20,
    "redelivery met a stored row": 20,
    "feedback_taken": 100,
    "feedback_refused": 100,
}
"""How often each fault and situation must have come about in a thousand seeds."""


@pytest.fixture(scope="module")
def summary() -> Summary:
    """What all seeds came to."""
    return simulate_all(range(SEEDS))


def test_no_seed_breaks_a_promise(summary: Summary) -> None:
    failed = summary.failed
    if failed is not None:
        told = "\n".join([failed.trace, *failed.faults])
        pytest.fail(f"{told}\nreplay with: PYTHONPATH=tests python -m simulation --seed {failed.seed} --trace")
    assert summary.seeds == SEEDS


@pytest.mark.parametrize(("kind", "times"), MET.items(), ids=MET)
def test_what_is_to_be_met_is_met(summary: Summary, kind: str, times: int) -> None:
    assert summary.counts[kind] >= times * summary.seeds // 1000


def test_a_seed_is_one_history() -> None:
    first = simulate(7)

    assert simulate(7).trace == first.trace
    assert simulate(8).trace != first.trace


def test_it_is_the_same_in_every_process() -> None:
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "4711"}
    command = [sys.executable, "-m", "simulation", "--seed", "11", "--trace"]
    told = subprocess.run(
        command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=BOUND_S, check=True
    )

    assert told.stdout == simulate(11).trace
