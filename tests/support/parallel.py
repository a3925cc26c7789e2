"""How the tests are shared out where several processes run them: `pytest -n auto`.

What goes to one process together is what uses one stack, or one module. Every process has servers of its own: an open
transaction anywhere in a cluster holds back what may be proven in all of its databases.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

LONGEST_FIRST: Final = ("tests/chaos", "tests/e2e", "tests/mutation", "tests/integration", "tests/simulation")
"""In this order, so that no process has a long share left when the others have none."""
STACKS: Final = {
    "tests/chaos, one stack": ("test_fault_points", "test_oracle", "test_rebalance", "test_release"),
    "tests/chaos, another stack": (
        *("test_erasure", "test_kill_services", "test_paused"),
        *("test_servers_restart", "test_supervisor_death"),
    ),
    "tests/e2e, its stack": (
        *("test_bad_input", "test_each_ending", "test_facts_of_many"),
        *("test_openai_batch_file", "test_redacted_jobs", "test_replay_after_outage"),
    ),
}
"""Which modules use a stack together. One that is missing here would start a stack for itself alone."""
_SHARES: Final = {module: share for share, modules in STACKS.items() for module in modules}
_SERVERS: Final = ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS")


def share_of(nodeid: str) -> str:
    """Return what a test has in common with those that have to run in the same process."""
    path = PurePosixPath(nodeid.partition("::")[0])
    if str(path.parent) == "tests/mutation":
        return nodeid
    return _SHARES.get(path.stem, str(path))


class Shares(LoadScopeScheduling):
    """Gives the next share to the process that has almost ended its own."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares:
    """Share out as above, whatever `--dist` says."""
    config.option.loadscopereorder = False
    return Shares(config, log)


@pytest.hookimpl
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes `-n auto` means: one where all would use the servers that the environment names."""
    if all(os.environ.get(name) for name in _SERVERS):
        return 1
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, where several processes run the tests."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _turn(item.nodeid))


def _turn(nodeid: str) -> int:
    return next((turn for turn, folder in enumerate(LONGEST_FIRST) if nodeid.startswith(folder)), len(LONGEST_FIRST))
