"""The one message that each chain calls for, read again by the stage that it wakes."""

from __future__ import annotations

from typing import Any

import pytest
from runtime_chains import AT, DECISION, FEATURES, RECORD, ChainBuilder, no_route
from runtime_settings import make_settings
from support.tenants import Nobody, some_tenants

from schemas.codes import ErrorCode, Status, Verdict
from schemas.decision import Orders
from schemas.messages import Classified, Message, Outcome, Routed
from services.runtime.kafka import Outgoing
from services.runtime.ledger import Entry
from services.runtime.wakeup import REPUBLISH, Wakeups

TENANTS = Nobody()
WAKEUPS = Wakeups(make_settings(WAYBILL_TOPIC_PREFIX="prod."), TENANTS)


def decided(**how: Any) -> ChainBuilder:
    """Return a chain up to its decision."""
    builder = ChainBuilder(**how)
    builder.classified()
    builder.decided()
    return builder


def called_for(builder: ChainBuilder) -> Outgoing:
    """Return the message, checked for what all of them share."""
    outgoing = WAKEUPS.for_chain(builder.chain)
    assert outgoing is not None
    assert outgoing.key == str(RECORD).encode()
    message = Message.model_validate_json(outgoing.value or b"")
    assert (message.record_id, message.tenant) == (RECORD, "acme")
    return outgoing


def outcome_of(builder: ChainBuilder, head: Entry) -> Outcome:
    """Return the message for the recorder, which names ``head``."""
    outgoing = called_for(builder)
    assert outgoing.topic == "prod.outcomes"
    outcome = Outcome.model_validate_json(outgoing.value or b"")
    assert (outcome.head.seq, outcome.head.hash) == head.head
    return outcome


def routed_of(builder: ChainBuilder, head: Entry) -> Routed:
    """Return the message for the executor, which names ``head``."""
    outgoing = called_for(builder)
    assert outgoing.topic == "prod.routed.background"
    routed = Routed.model_validate_json(outgoing.value or b"")
    assert (routed.head.seq, routed.head.hash) == head.head
    assert routed.orders == Orders.model_validate(DECISION.model_dump())
    assert routed.received_at.isoformat() == "2026-11-24T12:00:00+00:00"
    assert routed.deadline.isoformat() == "2026-11-26T12:00:00+00:00"
    return routed


def test_a_job_rejected_at_intake_is_to_be_sealed() -> None:
    builder = ChainBuilder(latency_class=None, error={"code": "unknown_field", "field": "mesages"})

    outcome = outcome_of(builder, builder.chain[0])

    assert outcome.status is Status.REJECTED
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.field) == (ErrorCode.UNKNOWN_FIELD, "mesages")


def test_a_job_that_was_only_received_is_rejected_as_our_fault() -> None:
    builder = ChainBuilder()

    outcome = outcome_of(builder, builder.chain[0])

    assert outcome.status is Status.REJECTED
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.INTERNAL


def test_a_classified_job_goes_to_the_router() -> None:
    builder = ChainBuilder()
    head = builder.classified()

    outgoing = called_for(builder)

    classified = Classified.model_validate_json(outgoing.value or b"")
    assert outgoing.topic == "prod.classified"
    assert (classified.head.seq, classified.head.hash) == head.head
    assert classified.features == FEATURES
    assert classified.latency_class == "background"
    assert classified.deadline.isoformat() == "2026-11-26T12:00:00+00:00"


def test_a_fresh_decision_goes_to_the_executor_which_need_not_read_the_chain() -> None:
    builder = decided()

    assert not routed_of(builder, builder.chain[-1]).resume


def test_batch_jobs_have_a_topic_of_their_own() -> None:
    assert called_for(decided(latency_class="batch")).topic == "prod.routed.batch"


@pytest.mark.parametrize("code", [ErrorCode.NO_ROUTE, ErrorCode.BUDGET_EXCEEDED])
def test_a_decision_without_a_route_is_to_be_sealed(code: ErrorCode) -> None:
    builder = ChainBuilder()
    builder.classified()
    head = builder.decided(no_route(code))

    outcome = outcome_of(builder, head)

    assert outcome.status is Status.REJECTED
    assert outcome.error is not None
    assert outcome.error.code is code


def test_what_was_tried_is_read_by_the_executor_before_it_goes_on() -> None:
    builder = decided()
    started = builder.started()
    assert routed_of(builder, started).resume

    finished = builder.finished(started.entry_id, "failed")
    assert routed_of(builder, finished).resume

    again = builder.started()
    builder.finished(again.entry_id)
    validated = builder.validated(again.entry_id)
    assert routed_of(builder, validated).resume


def test_a_held_record_wakes_nobody() -> None:
    builder = decided()
    builder.started()
    builder.held()

    assert WAKEUPS.for_chain(builder.chain) is None


@pytest.mark.parametrize(
    ("verdict", "status", "code"),
    [
        (Verdict.CHARGED, Status.FAILED, ErrorCode.IN_DOUBT),
        (Verdict.CANCELLED, Status.CANCELLED, ErrorCode.CANCELLED),
        (Verdict.EXPIRED, Status.EXPIRED, ErrorCode.DEADLINE_PASSED),
    ],
)
def test_a_verdict_that_ends_the_record_goes_to_the_recorder(verdict: Verdict, status: Status, code: ErrorCode) -> None:
    builder = decided()
    builder.started()
    builder.held()
    head = builder.released(verdict)

    outcome = outcome_of(builder, head)

    assert outcome.status is status
    assert outcome.error is not None
    assert outcome.error.code is code


@pytest.mark.parametrize("verdict", [Verdict.RETRY, Verdict.NOT_CHARGED])
def test_after_a_release_the_new_decision_is_carried_out_behind_what_was_tried(verdict: Verdict) -> None:
    builder = decided()
    builder.started()
    builder.held()
    builder.released(verdict)
    head = builder.decided()

    assert routed_of(builder, head).resume


def test_every_verdict_either_ends_the_record_or_goes_on() -> None:
    for verdict in Verdict:
        builder = decided()
        builder.started()
        builder.held()
        builder.released(verdict)
        assert called_for(builder).topic in ("prod.outcomes", "prod.routed.background")


@pytest.mark.parametrize("late", [0, 1, 2])
def test_a_sealed_record_calls_for_its_result_wherever_late_answers_stand(late: int) -> None:
    builder = decided()
    claim = builder.started().entry_id
    builder.finished(claim)
    builder.validated(claim)
    seal = builder.sealed()
    for _ in range(late):
        builder.late(claim)

    outcome = outcome_of(builder, seal)

    assert outcome.status == REPUBLISH
    assert outcome.error is None


def test_the_same_chain_calls_for_the_same_bytes() -> None:
    builder = decided()
    builder.started()

    assert WAKEUPS.for_chain(builder.chain) == WAKEUPS.for_chain(builder.chain)


def test_an_ending_may_name_a_field() -> None:
    head = ChainBuilder().chain[0]

    outcome = Outcome.model_validate_json(
        WAKEUPS.end("acme", head, Status.FAILED, ErrorCode.VALIDATION_FAILED, "response_format").value or b""
    )

    assert (outcome.head.seq, outcome.head.hash) == head.head
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.field) == (ErrorCode.VALIDATION_FAILED, "response_format")


@pytest.mark.parametrize(
    ("came_on", "has_topics", "answered_on"),
    [
        ("prod.requests", False, "prod.results"),
        ("prod.requests", True, "prod.results.acme"),
        ("prod.requests.acme", True, "prod.results.acme"),
        ("prod.requests.acme", False, "prod.results.acme"),
        ("prod.requests.globex", False, "prod.results"),
        ("prod.requests.globex", True, "prod.results.acme"),
        ("elsewhere.requests.acme", False, "prod.results"),
    ],
)
def test_a_tenant_with_topics_of_its_own_is_answered_there(came_on: str, has_topics: bool, answered_on: str) -> None:
    wakeups = Wakeups(make_settings(WAYBILL_TOPIC_PREFIX="prod."), Nobody(some_tenants(acme={"topics": has_topics})))
    received = {"tenant": "acme", "source": {"topic": came_on, "partition": 0, "offset": 1}}
    assert wakeups.results_topic(received) == answered_on
    assert wakeups.notice(received, RECORD, "accepted", AT).topic == answered_on
