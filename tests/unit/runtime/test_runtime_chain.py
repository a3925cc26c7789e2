"""What a chain says was tried, beside a plain re-statement of the rules of doubt."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from runtime_chains import WORKER, ChainBuilder

from schemas.codes import EntryKind, FailureClass, Verdict
from services.runtime.chain import progress_of
from services.runtime.ledger import Entry


class Said(NamedTuple):
    """What one entry says of claims: its kind, its outcome, mark or verdict, and the claim that it answers."""

    kind: EntryKind
    note: str = ""
    claim: int = -1


def unresolved(chain: list[Said]) -> set[int]:
    """Return the claims, by position, of which the chain does not say what the provider did."""
    answered = {
        said.claim
        for said in chain
        if said.kind == EntryKind.LATE_RESULT or (said.kind == EntryKind.ATTEMPT_FINISHED and said.note != "lost")
    }
    return {seq for seq, said in enumerate(chain) if said.kind == EntryKind.ATTEMPT_STARTED and seq not in answered}


def undisclosed(chain: list[Said]) -> set[int]:
    """Return the unresolved claims that neither a marked attempt nor a verdict on the doubt has followed."""
    return {
        seq
        for seq in unresolved(chain)
        if not any(
            said.note == "may_double_pay"
            or (said.kind == EntryKind.RELEASED and said.note in ("retry", "charged", "not_charged"))
            for said in chain[seq + 1 :]
        )
    }


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[Said], list[Entry]]:
    """Draw a chain twice: as entries, and as what they say. Every claim is finished at most once, in any order."""
    builder = ChainBuilder()
    builder.classified()
    builder.decided()
    said = [Said(EntryKind.RECEIVED), Said(EntryKind.CLASSIFIED), Said(EntryKind.DECIDED)]
    open_claims: dict[int, UUID] = {}
    lost_claims: dict[int, UUID] = {}
    for step in draw(st.lists(st.sampled_from(["start", "start", "finish", "release", "decide", "late"]), max_size=14)):
        if step == "start":
            marked = draw(st.booleans())
            entry = builder.started(may_double_pay=marked)
            open_claims[entry.seq] = lost_claims[entry.seq] = entry.entry_id
            said.append(Said(EntryKind.ATTEMPT_STARTED, "may_double_pay" if marked else ""))
        elif step == "finish" and open_claims:
            claim = draw(st.sampled_from(sorted(open_claims)))
            outcome = draw(st.sampled_from(["ok", "failed", "lost"]))
            builder.finished(open_claims.pop(claim), outcome)
            if outcome != "lost":
                del lost_claims[claim]
            said.append(Said(EntryKind.ATTEMPT_FINISHED, outcome, claim))
        elif step == "late" and lost_claims:
            claim = draw(st.sampled_from(sorted(lost_claims)))
            builder.late(lost_claims.pop(claim), draw(st.sampled_from(["ok", "failed"])))
            open_claims.pop(claim, None)
            said.append(Said(EntryKind.LATE_RESULT, "ok", claim))
        elif step == "release":
            verdict = draw(st.sampled_from(Verdict))
            builder.held()
            builder.released(verdict)
            said += [Said(EntryKind.HELD), Said(EntryKind.RELEASED, verdict)]
        elif step == "decide":
            builder.decided()
            said.append(Said(EntryKind.DECIDED))
    return said, builder.chain


@given(drawn=chains())
def test_doubt_belongs_to_the_chain(drawn: tuple[list[Said], list[Entry]]) -> None:
    said, chain = drawn

    progress = progress_of(chain)

    assert {claim.seq for claim in progress.unresolved} == unresolved(said)
    assert progress.in_doubt == bool(undisclosed(said))
    assert progress.double_paying == sum(one.note == "may_double_pay" for one in said)
    assert [claim.seq for claim in progress.claims] == [
        seq for seq, one in enumerate(said) if one.kind == EntryKind.ATTEMPT_STARTED
    ]


@given(drawn=chains())
def test_unanswered_claims_count_in_full(drawn: tuple[list[Said], list[Entry]]) -> None:
    said, chain = drawn
    known = {"ok": "0.001", "failed": "0.001"}
    costs = {one.claim: known[one.note] for one in said if one.kind == EntryKind.ATTEMPT_FINISHED and one.note in known}
    costs |= {one.claim: "0.002" for one in said if one.kind == EntryKind.LATE_RESULT}
    claims = [seq for seq, one in enumerate(said) if one.kind == EntryKind.ATTEMPT_STARTED]

    assert progress_of(chain).spent_usd == sum((Decimal(costs.get(seq, "0.01")) for seq in claims), start=Decimal(0))


def test_nothing_tried_is_no_doubt_and_no_money() -> None:
    builder = ChainBuilder()
    builder.classified()
    builder.decided()

    progress = progress_of(builder.chain)

    assert progress.claims == []
    assert not progress.in_doubt
    assert (progress.double_paying, progress.spent_usd) == (0, Decimal(0))


def test_a_claim_is_read_whole() -> None:
    builder = ChainBuilder()
    entry = builder.started(worst_case_usd="0.0125")
    builder.finished(entry.entry_id, "failed", cost_usd="0.002")

    (claim,) = progress_of(builder.chain).claims

    assert (claim.entry_id, claim.seq, claim.attempt, claim.worker) == (entry.entry_id, 1, 1, WORKER)
    assert (claim.route, claim.may_double_pay) == ("alpha/small@eu", False)
    assert (claim.worst_case_usd, claim.cost_usd) == (Decimal("0.0125"), Decimal("0.002"))
    assert (claim.outcome, claim.failure_class) == ("failed", FailureClass.TIMEOUT_SENT)


def test_an_answer_that_names_no_cost_counts_in_full() -> None:
    builder = ChainBuilder()
    builder.finished(builder.started(worst_case_usd="0.02").entry_id, "failed", cost_usd=None)

    assert progress_of(builder.chain).spent_usd == Decimal("0.02")


def test_a_verdict_frees_no_money() -> None:
    builder = ChainBuilder()
    builder.started(worst_case_usd="0.02")
    builder.held()
    builder.released(Verdict.NOT_CHARGED)

    progress = progress_of(builder.chain)

    assert not progress.in_doubt
    assert progress.spent_usd == Decimal("0.02")


def test_a_marked_attempt_discloses_the_doubt_before_it_and_may_be_one_itself() -> None:
    builder = ChainBuilder()
    builder.started()
    marked = builder.started(may_double_pay=True)
    assert progress_of(builder.chain).in_doubt

    builder.finished(marked.entry_id, "failed")
    assert not progress_of(builder.chain).in_doubt
