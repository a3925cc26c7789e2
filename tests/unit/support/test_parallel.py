"""What has to run in one process is one share, and nothing else is tied to it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from support.parallel import STACKS, share_of

TESTS: Final = Path(__file__).parents[2]


@pytest.mark.parametrize("share", STACKS)
def test_modules_of_one_stack_are_one_share(share: str) -> None:
    folder = share.partition(",")[0]
    assert {share_of(f"{folder}/{module}.py::test_x") for module in STACKS[share]} == {share}
    assert all((TESTS.parent / folder / f"{module}.py").exists() for module in STACKS[share])


@pytest.mark.parametrize("folder", ["chaos", "e2e"])
def test_every_module_that_uses_the_folders_stack_has_a_share_of_it(folder: str) -> None:
    using = [file for file in (TESTS / folder).glob("test_*.py") if "stack: RunningStack" in file.read_text()]
    assert len(using) > 3
    apart = {file.stem for file in using if share_of(f"tests/{folder}/{file.name}::test_x") not in STACKS}
    assert apart <= {"test_no_content_escapes"}, "it starts one of its own"


@pytest.mark.parametrize("nodeid", ["tests/mutation/test_mutants.py::test_x[a]", "tests/integration/test_a.py::test_x"])
def test_others_share_a_module_at_most(nodeid: str) -> None:
    module = nodeid.partition("::")[0]
    assert share_of(nodeid).startswith(module)
    assert share_of(nodeid) != share_of(f"{module.replace('test_', 'test_other_')}::test_x")
