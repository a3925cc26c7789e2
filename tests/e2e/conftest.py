"""One stack for all tests of this folder, as `waybill up` leaves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from support.stack_running import RunningStack, running_stack


@pytest.fixture(scope="package")
def started() -> Iterator[RunningStack]:
    """The stack."""
    with running_stack({}) as stack:
        yield stack


@pytest_asyncio.fixture
async def stack(started: RunningStack) -> AsyncIterator[RunningStack]:
    """The stack, with a provider that has no outage."""
    await started.simulate_nothing()
    yield started
    await started.simulate_nothing()
