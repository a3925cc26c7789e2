"""An answer in hand: what is kept of it says the same later, and shows nothing of the job."""

from __future__ import annotations

import pytest
from executor_answers import OUTPUT, SOME_RECORD, an_answer_in_hand, answer_of
from executor_builders import ALPHA, a_claim

from schemas.codes import EntryKind
from services.executor.in_hand import InHand
from services.runtime import vault
from services.runtime.chain import Progress
from services.runtime.keyring import RecordKey
from services.runtime.ledger import ChainHead

KEY = RecordKey(SOME_RECORD, bytes(48))


@pytest.mark.parametrize("outcome", ["ok", "failed", "lost"])
def test_what_is_unpacked_appends_the_same_bytes(outcome: str) -> None:
    answer = answer_of(a_claim(Progress()), ChainHead(3, "ab" * 32), KEY, SOME_RECORD, outcome=outcome)

    again = InHand.unpack(answer.pack())

    assert again == answer
    assert again.append_request() == answer.append_request()
    assert [entry.kind for entry in again.append_request().chain.entries] == (
        [EntryKind.ATTEMPT_FINISHED, EntryKind.VALIDATED] if outcome == "ok" else [EntryKind.ATTEMPT_FINISHED]
    )


def test_its_output_is_the_record_s_own_ciphertext() -> None:
    answer = an_answer_in_hand()

    assert b"fjord" not in answer.pack()
    request = InHand.unpack(answer.pack()).append_request()
    assert request.content is not None
    assert KEY.decrypt(request.content.entry_id, vault.OUTPUT, request.content.ciphertext) == OUTPUT
    data = request.chain.entries[0].content()["data"]
    assert data["output_digest"] == KEY.digest(OUTPUT)
    assert data["output_entry"] == str(request.content.entry_id) == str(request.chain.entries[0].entry_id)


def test_aside_its_output_is_bound_to_the_late_entry() -> None:
    aside = an_answer_in_hand().aside(KEY)

    assert aside.content is not None
    assert aside.content.entry_id == aside.entry_id
    assert KEY.decrypt(aside.entry_id, vault.OUTPUT, aside.content.ciphertext) == OUTPUT
    assert aside.data["route"] == ALPHA.model_dump(mode="json")


def test_aside_without_a_key_its_cost_is_what_is_left() -> None:
    aside = an_answer_in_hand().aside(None)

    assert aside.content is None
    assert (aside.data["outcome"], aside.data["cost_usd"], aside.data["usage"]["output_tokens"]) == ("ok", "0.0007", 7)


@pytest.mark.parametrize("packed", [b"", b"\n", b"{}\n", b"[1]\n", b'{"record_id": 1}\n', b"\xff\xff"])
def test_anything_else_is_no_answer(packed: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        InHand.unpack(packed)
