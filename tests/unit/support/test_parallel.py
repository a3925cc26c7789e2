"""What has to run in one process is one share, and nothing else is tied to it."""

from __future__ import annotations

import pytest
from support.parallel import FIRST_STACK, OWN_STACK, share_of


def test_fault_tests_have_two_stacks() -> None:
    shares = {share_of(f"tests/chaos/{module}.py::test_x") for module in (*FIRST_STACK, "test_paused", "test_release")}
    assert len(shares) == 2


def test_end_to_end_tests_have_one_stack_but_for_those_that_start_their_own() -> None:
    (own,) = OWN_STACK
    first, second, apart = (share_of(f"tests/e2e/{module}.py::test_x") for module in ("test_a", "test_b", own))
    assert first == second != apart


@pytest.mark.parametrize("nodeid", ["tests/mutation/test_mutants.py::test_x[a]", "tests/integration/test_a.py::test_x"])
def test_others_share_a_module_at_most(nodeid: str) -> None:
    module = nodeid.partition("::")[0]
    assert share_of(nodeid).startswith(module)
    assert share_of(nodeid) != share_of(f"{module.replace('test_', 'test_other_')}::test_x")
