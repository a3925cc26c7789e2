"""Executors are frozen past their lease, in the midst of calls, and thawed when others have gone on behind them.

Measured in the record, beside what the oracle sees: nothing of a fenced worker stands behind another's claim; whatever
the provider charged it is told late, with its cost; and the worker that was never frozen lost no record to those that
came back.
"""

from __future__ import annotations

import random
from itertools import cycle
from pathlib import Path
from typing import Final

from support.oracle import History
from support.stack_executors import further_executors, until_joined
from support.stack_faults import Faults
from support.stack_fencing import late_answers, open_claims, stale_appends, untold_charges
from support.stack_history import flow
from support.stack_jobs import long_or
from support.stack_running import RunningStack

from schemas.codes import FailureClass
from services.runtime.faultpoints import FaultPoint

JOBS: Final = 120
"""For each turn: enough for every executor to have several calls in flight."""
IN_A_CALL: Final = (FaultPoint.EXECUTOR_CLAIM_STORED, FaultPoint.EXECUTOR_ANSWERED)
AT_ONCE_MS: Final = 3000
"""Shorter than the lease that each pause outlasts."""
PASSINGS: Final = long_or(1, 3)
"""At which passing of its point a victim is frozen, at most: how many jobs each gets is for the broker to say."""
OUTLIVES_THE_TEST: Final = {"WAYBILL_LEASE_S": "3600"}
"""However busy the machine is: a worker with this lease loses nothing, unless somebody disregards it."""


async def test_paused_past_the_lease(stack: RunningStack, chance: random.Random, tmp_path: Path) -> None:
    pauses, at_most = long_or(3, 100), long_or(2, 4)
    at_once: list[int] = []
    while (left := pauses - sum(at_once)) > 0:
        at_once.append(chance.randint(1, min(left, at_most)))
    points = cycle(IN_A_CALL)
    folders = [tmp_path / str(number) for number in range(at_most)]
    await stack.simulate(latency_ms=[200, 1500])
    async with (
        flow(stack, "paused", JOBS * len(at_once)) as jobs,
        further_executors(stack, OUTLIVES_THE_TEST, *(_struck_alone(folder) for folder in folders)) as executors,
    ):
        untouched, *others = executors
        for turn, frozen in enumerate(at_once):
            await until_joined(stack, executors)
            victims = chance.sample(list(zip(others, map(Faults, folders), strict=True)), frozen)
            armed = [(faults, next(points)) for _, faults in victims]
            for faults, point in armed:
                faults.arm(point, "STOP", passing=chance.randint(1, PASSINGS))
            await jobs.publish(jobs.jobs[turn * JOBS : (turn + 1) * JOBS])
            # Meanwhile their leases and their memberships end, and the others try their calls once more.
            await jobs.sealed((turn + 1) * JOBS)
            assert all(faults.struck(point) for faults, point in armed)
            for victim, _ in victims:
                victim.resume()
        for one in others:
            await one.leave()
        history = await jobs.history()
        late = late_answers(history)
        assert stale_appends(history) == []
        assert untold_charges(history) == []
        assert open_claims(history, untouched.worker) == []
        assert len(late) >= pauses, "each pause made at least the answer late at which it began"
        given_up = _given_up(history)
        assert len(given_up) >= (pauses + 1) // len(IN_A_CALL), "each pause between claim and call gave up that call"
        assert not given_up & {charge.attempt for charge in history.charges}
        print(f"{pauses} pauses, {len(late)} late answers")


def _struck_alone(folder: Path) -> dict[str, str]:
    """Return the environment of an executor that fault points armed in this folder strike, and no other.

    However long it is frozen, its calls do not time out: what their sockets hold when it goes on are answers.
    """
    return {"WAYBILL_FAULT_DIR": str(folder), "WAYBILL_ATTEMPT_TIMEOUT_S": "3600"}


def _given_up(history: History) -> set[str]:
    """Return the claims whose worker found, before it sent anything, that they might not be its own any more.

    It finds that at once; a connection that failed while the worker was frozen took as long as that.
    """
    return {
        step.data["claim"]
        for step in late_answers(history)
        if step.data["failure_class"] == FailureClass.TIMEOUT_UNSENT and step.data["latency_ms"] < AT_ONCE_MS
    }
