"""The oracle must be able to say no: a true history has no fault, and each way of spoiling it has its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Final
from uuid import UUID, uuid4

import orjson
import pytest
import pytest_asyncio
from support.oracle import History, faults
from support.stack_fencing import open_claims, stale_appends, untold_charges
from support.stack_history import flow
from support.stack_running import RunningStack

from schemas.codes import EntryKind
from services.proof.merkle import hash_leaf
from services.runtime.ledger import Entry

Spoil = Callable[[History], History]
JOBS: Final = 3


@pytest_asyncio.fixture(scope="package")
async def history(started: RunningStack) -> AsyncIterator[History]:
    """Three jobs whose first call failed, by malformed answers that were charged; the second succeeded."""
    async with flow(started, "oracle", JOBS, script=" [[sim: malformed fail=1]]") as jobs:
        await jobs.publish()
        true = await jobs.history()
    yield true


def _some(history: History) -> UUID:
    return next(iter(history.chains))


def _with_chain(history: History, chain: list[Entry]) -> History:
    return replace(history, chains={**history.chains, chain[0].record_id: chain})


def _lost_record(history: History) -> History:
    lost = _some(history)
    return replace(history, chains={r: chain for r, chain in history.chains.items() if r != lost})


def _another_record(history: History) -> History:
    return replace(history, chains={**history.chains, uuid4(): history.chains[_some(history)]})


def _entry_removed(history: History) -> History:
    chain = list(history.chains[_some(history)])
    return _with_chain(history, chain[:2] + chain[3:])


def _entry_altered(history: History) -> History:
    chain = list(history.chains[_some(history)])
    altered = chain[0].body.replace('"seq":0', '"seq": 0')
    assert altered != chain[0].body
    chain[0] = chain[0]._replace(body=altered)
    return _with_chain(history, chain)


def _sealed_twice(history: History) -> History:
    chain = list(history.chains[_some(history)])
    return _with_chain(history, [*chain, chain[-1]._replace(seq=len(chain))])


def _result_lost(history: History) -> History:
    return replace(history, results=history.results[1:])


def _result_changed(history: History, **fields: Any) -> History:
    value = orjson.dumps(orjson.loads(history.results[0]) | fields)
    return replace(history, results=[value, *history.results[1:]])


def _result_twice_and_different(history: History) -> History:
    return replace(history, results=[*history.results, *_result_changed(history, metadata={}).results[:1]])


def _charge_without_claim(history: History) -> History:
    return replace(history, charges=[*history.charges, replace(history.charges[0], attempt=str(uuid4()))])


def _claims(history: History) -> list[Entry]:
    return [e for e in history.chains[_some(history)] if e.kind == EntryKind.ATTEMPT_STARTED]


def _charged_twice(history: History) -> History:
    claim = str(_claims(history)[0].entry_id)
    return replace(history, charges=[*history.charges, *(c for c in history.charges if c.attempt == claim)])


def _answer_without_charge(history: History) -> History:
    claim = str(_claims(history)[-1].entry_id)
    return replace(history, charges=[charge for charge in history.charges if charge.attempt != claim])


def _paid_again_in_silence(history: History) -> History:
    """Tell the first call's failure as an answer that was lost: the second call is then one in doubt, undisclosed."""
    rewritten: list[Entry] = []
    done = False
    for entry in history.chains[_some(history)]:
        body = entry.content()
        body["prev_hash"] = rewritten[-1].hash.hex() if rewritten else None
        if entry.kind == EntryKind.ATTEMPT_FINISHED and not done:
            body["data"]["outcome"], done = "lost", True
        text = orjson.dumps(body)
        rewritten.append(entry._replace(body=text.decode(), hash=hash_leaf(text)))
    return _with_chain(history, rewritten)


def _facts_changed(history: History) -> History:
    record_id = _some(history)
    row = {**history.request_facts[record_id], "attempts": 7}
    return replace(history, request_facts={**history.request_facts, record_id: row})


def _attempt_fact_lost(history: History) -> History:
    record_id = _some(history)
    rows = history.attempt_facts[record_id][1:]
    return replace(history, attempt_facts={**history.attempt_facts, record_id: rows})


SPOILED: Final[dict[str, tuple[Spoil, str]]] = {
    "record lost": (_lost_record, "has no record"),
    "record made up": (_another_record, f"there are {JOBS + 1} records, not {JOBS}"),
    "entry removed": (_entry_removed, "entry 2 is missing"),
    "entry altered": (_entry_altered, "its hash is not that of its body"),
    "sealed twice": (_sealed_twice, "is sealed 2 times"),
    "result lost": (_result_lost, "has no result"),
    "result differs": (_result_twice_and_different, "has results that differ"),
    "status differs": (lambda h: _result_changed(h, status="failed"), "another status"),
    "cost differs": (lambda h: _result_changed(h, cost_usd="9"), "another cost"),
    "head differs": (lambda h: _result_changed(h, record_head={"seq": 1, "hash": "0" * 64}), "another head"),
    "key differs": (lambda h: _result_changed(h, idempotency_key="other"), "another's key"),
    "output lost": (lambda h: _result_changed(h, output=None), "output is missing"),
    "charge without claim": (_charge_without_claim, "is in no record"),
    "claim charged twice": (_charged_twice, "was charged 2 times"),
    "answer without charge": (_answer_without_charge, "that the provider did not charge"),
    "paid again in silence": (_paid_again_in_silence, "was charged twice in silence"),
    "facts differ": (_facts_changed, "another request row"),
    "attempt facts lost": (_attempt_fact_lost, "other attempt rows"),
    "still open": (lambda h: replace(h, left_over=[("open", _some(h))]), "is open at the end"),
    "no content key": (lambda h: replace(h, keyless=[_some(h)]), "has no content key"),
    "orphaned key": (lambda h: replace(h, orphan_keys=[uuid4()]), "belongs to no record"),
}


def test_the_true_history_was_worth_spoiling(history: History) -> None:
    assert faults(history) == []
    assert len(history.chains) == len(history.results) == JOBS
    assert all(len(rows) == 2 for rows in history.attempt_facts.values())
    assert len(history.attempt_facts) == JOBS
    claimed = {str(claim.entry_id) for claim in _claims(history)}
    assert {charge.attempt for charge in history.charges} >= claimed


@pytest.mark.parametrize("way", SPOILED)
def test_a_spoiled_history_has_its_fault(history: History, way: str) -> None:
    spoil, said = SPOILED[way]
    assert any(said in fault for fault in faults(spoil(history))), faults(spoil(history))


def test_an_answer_behind_another_claim_is_seen(history: History) -> None:
    chain = list(history.chains[_some(history)])
    answer = next(place for place, entry in enumerate(chain) if entry.kind == EntryKind.ATTEMPT_FINISHED)
    assert chain[answer + 1].kind == EntryKind.ATTEMPT_STARTED
    chain[answer], chain[answer + 1] = chain[answer + 1], chain[answer]

    assert stale_appends(history) == []
    assert len(stale_appends(_with_chain(history, chain))) == 1


def test_a_charge_that_is_told_nowhere_is_seen(history: History) -> None:
    chain = [entry for entry in history.chains[_some(history)] if entry.kind != EntryKind.ATTEMPT_FINISHED]
    worker = _claims(history)[0].content()["data"]["worker"]

    assert untold_charges(history) == open_claims(history, worker) == []
    assert len(untold_charges(_with_chain(history, chain))) == 2
    assert len(open_claims(_with_chain(history, chain), worker)) == 2
