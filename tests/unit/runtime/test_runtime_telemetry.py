"""Logs and metrics tell errors by class and SQLSTATE; what a row or an input held stays where it was."""

from __future__ import annotations

import asyncpg
import pytest
from prometheus_client import generate_latest

from services.runtime.errors import WaybillError
from services.runtime.telemetry import Telemetry, describe

CONTENT = "IBAN DE89370400440532013000"


class GateClosedError(WaybillError):
    """The gate is closed.

    More for programmers.
    """

    hint = "Open it."


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError(f"Key (text)=({CONTENT}) already exists."),
        asyncpg.DataError(f"invalid input syntax: {CONTENT}"),
        asyncpg.InterfaceError(f"cannot encode {CONTENT}"),
        asyncpg.PostgresError(CONTENT),
        ValueError(CONTENT),
        KeyError(CONTENT),
        OSError(5, CONTENT),
        ExceptionGroup(CONTENT, [ValueError(CONTENT)]),
        UnicodeDecodeError("utf-8", CONTENT.encode(), 0, 1, CONTENT),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_others_say_is_never_shown(error: Exception) -> None:
    said = describe(error)

    assert said.startswith(type(error).__name__)
    assert CONTENT not in said
    assert "IBAN" not in said


def test_a_database_s_error_shows_its_sqlstate() -> None:
    assert describe(asyncpg.UniqueViolationError(CONTENT)) == "UniqueViolationError (23505)"


def test_our_own_errors_show_their_text() -> None:
    assert describe(GateClosedError()) == "GateClosedError: The gate is closed."
    assert describe(GateClosedError("the gate of acme is closed")) == "GateClosedError: the gate of acme is closed"


def test_a_hint_may_be_given_where_the_error_is_raised() -> None:
    assert GateClosedError().hint == "Open it."
    assert GateClosedError(hint="Wait.").hint == "Wait."
    assert GateClosedError().hint == "Open it."


def test_an_error_caused_by_a_database_shows_nothing_of_it() -> None:
    with pytest.raises(GateClosedError) as caught:
        raise GateClosedError from asyncpg.UniqueViolationError(CONTENT)

    assert describe(caught.value) == "GateClosedError: The gate is closed."


def test_a_batch_given_back_is_counted_by_the_class_of_its_error() -> None:
    telemetry = Telemetry("test")
    telemetry.batch_failed(asyncpg.UniqueViolationError(CONTENT))
    telemetry.batch_done(3, 0.01)

    metrics = generate_latest(telemetry.registry).decode()

    assert 'waybill_test_failures_total{error="UniqueViolationError"} 1.0' in metrics
    assert "waybill_test_messages_total 3.0" in metrics
    assert CONTENT not in metrics


def test_two_services_may_live_in_one_process() -> None:
    Telemetry("test").messages.inc()

    assert Telemetry("test").registry.get_sample_value("waybill_test_messages_total") == 0.0
