"""Laws of the work on a record, whatever providers do and wherever processes die.

Every call has a claim of its own, stored before it (the fake provider refuses any other). What may be paid twice says
so, at most once. Nothing ends in silence: a record ends, is held, or can be carried on by the next process. An answer
that a process had in hand when it died is recorded once, by the next one before or after that has met the claim; or
never, where its spool is lost.
"""

from __future__ import annotations

from decimal import Decimal

from executor_bench import BUSY, LOST, REFUSED, Bench, Clock
from executor_builders import ALPHA, BETA, NOW, some_orders
from executor_fake_ledger import RECORD, FakeLease, FakeLedger, FakeRoutes, Outcome, an_answer
from executor_memory_spool import MemorySpool
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from schemas.codes import EntryKind
from schemas.messages import Outcome as OutcomeMessage
from services.executor.in_hand import InHand
from services.runtime.chain import Progress, progress_of
from services.runtime.ledger import Entry


class DiedError(Exception):
    """The process died here."""


outcomes: st.SearchStrategy[list[Outcome]] = st.lists(st.sampled_from([BUSY, LOST, REFUSED, an_answer()]), max_size=4)
deaths = st.sampled_from([None, EntryKind.ATTEMPT_STARTED, EntryKind.ATTEMPT_FINISHED, EntryKind.HELD])
recoveries = st.sampled_from(["first", "last", "never"])
lives = st.lists(st.tuples(outcomes, deaths, st.booleans(), recoveries), min_size=1, max_size=6)
MAX_ATTEMPTS = 4


async def live(
    ledger: FakeLedger,
    spool: MemorySpool,
    outcomes: list[Outcome],
    dies_before: EntryKind | None,
    *,
    ambiguous: bool,
    cap: Decimal,
) -> tuple[bool, OutcomeMessage | None]:
    """Let one process carry the record on from its last entry; say whether it died, and what it sent."""
    bench = Bench(Clock())
    bench.ledger, bench.lease, bench.in_doubt_cap_usd, bench.spool = ledger, FakeLease(), cap, spool
    bench.routes = FakeRoutes(ledger, [])
    bench.jitter = 0.0  # no retry waits
    bench.orders = some_orders((BETA, ["timeout_or_5xx"]), max_attempts=MAX_ATTEMPTS, max_cost_usd="0.035")
    ledger.ambiguous = {EntryKind.ATTEMPT_STARTED, EntryKind.ATTEMPT_FINISHED} if ambiguous else set()
    ledger.before_append = {} if dies_before is None else {dies_before: _die}
    try:
        return False, await bench.run(*outcomes, head=ledger.chain[-1], resume=len(ledger.chain) > 3)
    except (DiedError, IndexError):  # no outcome left: it dies while it calls
        return True, None


async def recover(ledger: FakeLedger, left: list[InHand]) -> None:
    """Record what dead processes left, each answer twice: a recovery may die before it can say that it is done."""
    ledger.ambiguous, ledger.before_append = set(), {}
    bench = Bench(Clock())
    bench.ledger = ledger
    for answer in [*left, *left]:
        await bench.recording.settle(answer)
    left.clear()


def _die() -> None:
    raise DiedError


@given(lives=lives, cap=st.sampled_from([Decimal(0), Decimal(1)]))
@with_settings(max_examples=150)
async def test_doubt_is_disclosed_and_budgets_hold_over_any_deaths(
    lives: list[tuple[list[Outcome], EntryKind | None, bool, str]], cap: Decimal
) -> None:
    ledger = FakeLedger()
    left: list[InHand] = []
    for happens, dies_before, ambiguous, recovery in lives:
        if recovery == "first":
            await recover(ledger, left)
        spool = MemorySpool()
        died, sent = await live(ledger, spool, happens, dies_before, ambiguous=ambiguous, cap=cap)
        if recovery == "last":
            await recover(ledger, left)
        left += spool.kept

        progress = progress_of(ledger.chain)
        check(ledger.chain, progress, cap)
        told = [aside.data["claim"] for aside in ledger.asides]
        told += [data["claim"] for data in ledger.data(EntryKind.ATTEMPT_FINISHED)]
        assert len(told) == len(set(told)), "an answer was recorded twice"
        if died:
            continue
        if ledger.chain[-1].kind == EntryKind.HELD:
            assert sent is None
            assert progress.in_doubt
            assert [(row.record_id, row.seq) for row in ledger.held] == [(RECORD, len(ledger.chain) - 1)]
        else:
            assert sent is not None, "nobody would carry this record on"
            assert (sent.head.seq, sent.head.hash) == ledger.chain[-1].head
            assert not progress.in_doubt, "an open doubt was ended"
        return


def check(chain: list[Entry], progress: Progress, cap: Decimal) -> None:
    """Check a chain that nobody works on."""
    assert len(progress.claims) <= MAX_ATTEMPTS
    assert progress.spent_usd <= Decimal("0.035")
    assert progress.double_paying <= (1 if cap else 0)
    for seq, entry in enumerate(chain):
        if entry.kind == EntryKind.ATTEMPT_STARTED:
            marked = entry.content()["data"]["may_double_pay"]
            assert marked == progress_of(chain[:seq]).in_doubt
    routes = [claim.route for claim in progress.claims]
    assert set(routes) <= {ALPHA.name, BETA.name}
    refused = [claim for claim in progress.claims if claim.failure_class == REFUSED.failure_class]
    assert not refused or refused == [progress.claims[-1]]
    assert all(claim.deadline > NOW for claim in progress.claims)
