"""One stack for all tests of this folder, quick to notice that a worker is gone; each test finds all of it running."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.stack_faults import Faults
from support.stack_running import RunningStack, running_stack

IMPATIENT = {
    "WAYBILL_LEASE_S": "3",
    "WAYBILL_SWEEP_AFTER_S": "2",
    "WAYBILL_NOTARY_EVERY_S": "2",
    "WAYBILL_ATTEMPT_TIMEOUT_S": "60",
    # So few calls at once that a dead worker leaves a doubt about some jobs, not about all of them.
    "WAYBILL_MAX_IN_FLIGHT": "40",
    # What is killed again and again is started again as soon as what is killed once.
    "WAYBILL_RESTART_PAUSE_MAX_S": "0.5",
}


@pytest.fixture(scope="package")
def fault_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the services of the stack look for armed fault points."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="package")
def started(fault_folder: Path) -> Iterator[RunningStack]:
    """The stack."""
    with running_stack({**IMPATIENT, "WAYBILL_FAULT_DIR": str(fault_folder)}) as stack:
        yield stack


@pytest_asyncio.fixture
async def stack(started: RunningStack) -> AsyncIterator[RunningStack]:
    """The stack with all of it running, whatever the test before has done to it."""
    if not started.status().running:
        await started.waybill("up")
    await started.until_ready()
    await started.simulate_nothing()
    yield started


@pytest.fixture
def faults(fault_folder: Path) -> Iterator[Faults]:
    """The fault points of the stack's services; none is armed before or after a test."""
    faults = Faults(fault_folder)
    faults.disarm()
    yield faults
    faults.disarm()


@pytest.fixture
def chance() -> random.Random:
    """Seeded chance; the seed is printed, and can be given again as ``WAYBILL_CHAOS_SEED``."""
    seed = int(os.environ.get("WAYBILL_CHAOS_SEED", random.SystemRandom().randrange(2**32)))
    print(f"WAYBILL_CHAOS_SEED={seed}")
    return random.Random(seed)
