"""The questions in ``docs/questions``, asked of a small quarter whose answers were worked out by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from support import sql
from support.flow import Flow
from support.histories import Call, History, Hold, record_id_at, tell
from support.logins import as_login
from support.servers import OpenHost

from schemas.codes import ErrorCode, Status
from services.cli import docs_record
from services.policy import Policy
from services.runtime.postgres import Connection

_SQL = sql.load("facts")
QUESTIONS: Final = docs_record.questions()
D = Decimal
MONDAY: Final = datetime(2026, 1, 5, 9, tzinfo=UTC)
SUNDAY: Final = datetime(2026, 1, 11, 23, 30, tzinfo=UTC)
FEBRUARY: Final = datetime(2026, 2, 10, 14, tzinfo=UTC)
MARCH: Final = datetime(2026, 3, 31, 23, 59, 30, tzinfo=UTC)
APRIL: Final = datetime(2026, 4, 1, tzinfo=UTC)
IDS: Final = {
    name: record_id_at(moment)
    for name, moment in {
        "plain": MONDAY,
        "labelled": SUNDAY,
        "fallback": FEBRUARY,
        "doubt": FEBRUARY,
        "refused": FEBRUARY,
        "replay": MARCH,
        "again": MARCH,
        "rejected": MARCH,
        "april": APRIL,
    }.items()
}
FAILED: Final = {"outcome": "failed", "usd": "0"}
TOLD: Final = {
    # One call, dearer than the cheapest eligible route, and a fifth of its input cached.
    "plain": History(
        MONDAY,
        [Call(usd="0.0015", tokens=(100, 20, 10, 0), latency_ms=400)],
        expected_usd=("0.002", "0.001", "0.009"),
        # Thrown away at first.
        feedback=[("rejected", None, "tone"), ("edited", 0.5, None)],
    ),
    # Begins on Sunday, ends after midnight of Monday, once it has waited for an hour.
    "labelled": History(
        SUNDAY,
        [Hold("outage", 3600, "due"), Call(usd="0.03", latency_ms=900, valid=True)],
        tenant="bolt",
        labels={"team": "search", "env": "test"},
        data_class="confidential",
        expected_usd=("0.03", "0.03", "0.03"),
    ),
    # The first route is overloaded, the second answers for more.
    "fallback": History(
        FEBRUARY,
        [
            Call("north/small@eu", failure_class="overloaded", **FAILED),  # type: ignore[arg-type]
            Call("south/large@us", usd="0.05", tokens=(300, 0, 30, 5), latency_ms=2_000, fallback=True),
        ],
        labels={"team": "search"},
        feedback=[("re_asked", None, None)],
    ),
    # An answer that comes after the seal; the job was called again meanwhile, and had to wait for a person.
    "doubt": History(
        FEBRUARY,
        [
            Call(outcome="unknown", usd=None, tokens=(100, 80, 10, 0), late_usd="0.0011"),
            Hold("in_doubt", 90),
            Call(usd="0.0012", tokens=(100, 0, 10, 0), may_double_pay=True, latency_ms=600),
        ],
        labels={"team": "ads"},
        feedback=[("accepted", None, None)],
    ),
    "refused": History(
        FEBRUARY,
        [Call(usd="0.002", failure_class="refused", outcome="failed")],
        Status.FAILED,
        ErrorCode.MODEL_REFUSED,
        task="write",
        data_class="public",
    ),
    # The refused job run again: it fails again, and its replay succeeds.
    "replay": History(
        MARCH,
        [Call(usd="0.002", failure_class="refused", outcome="failed")],
        Status.FAILED,
        ErrorCode.MODEL_REFUSED,
        task="write",
        data_class="public",
        replay_of=IDS["refused"],
    ),
    "again": History(
        MARCH,
        [Call("south/large@us", usd="0.04", tokens=(500, 0, 50, 0), valid=False, latency_ms=1_000)],
        task="write",
        data_class="public",
        replay_of=IDS["replay"],
        expected_usd=("0.04", "0.04", "0.04"),
    ),
    "rejected": History(MARCH, [], Status.REJECTED, ErrorCode.INVALID_MESSAGE),
    # After the quarter: no question may count it.
    "april": History(APRIL, [Call(usd="99")], labels={"team": "search"}, feedback=[("rejected", None, None)]),
}
ANSWERS: Final[dict[str, list[tuple[Any, ...]]]] = {
    "01_cost_per_tenant_and_week": [
        ("acme", date(2026, 1, 5), 1, D("0.0015")),
        ("acme", date(2026, 2, 9), 3, D("0.0543")),  # 0.05 + 0.0011 + 0.0012 + 0.002
        ("acme", date(2026, 3, 30), 2, D("0.042")),
        ("bolt", date(2026, 1, 12), 1, D("0.03")),
    ],
    "02_cost_by_label": [
        ("env", "test", 1, D("0.03")),
        ("team", "search", 2, D("0.08")),
        ("team", "ads", 1, D("0.0023")),
    ],
    "03_cost_of_fallbacks": [("prod-stable", 1, D("0.05"), D("0.001"), D("0.049"))],
    "04_paid_against_eligible": [
        ("acme", 2, D("0.0415"), D("0.042"), D("0.041"), D("0.049")),
        ("bolt", 1, D("0.03"), D("0.03"), D("0.03"), D("0.03")),
    ],
    "05_latency_by_route_and_hour": [
        ("north", "small", "eu", "standard", 0, 1, 900.0),
        ("north", "small", "eu", "standard", 9, 1, 400.0),
        ("north", "small", "eu", "standard", 14, 2, 590.0),  # 400 late and 600: 400 + 0.95 * 200
        ("south", "large", "us", "standard", 14, 1, 2000.0),
        ("south", "large", "us", "standard", 23, 1, 1000.0),
    ],
    "06_jobs_held": [
        ("in_doubt", 1, D("0.1250"), D("90.0"), D("90.0")),
        ("outage", 1, D("0.1250"), D("3600.0"), D("3600.0")),
    ],
    "07_refusals": [
        ("north", "small", "summarise", 4, 0, D("0.0000")),
        ("north", "small", "write", 2, 2, D("1.0000")),
        ("south", "large", "summarise", 1, 0, D("0.0000")),
        ("south", "large", "write", 1, 0, D("0.0000")),
    ],
    "09_cost_of_doubt": [("acme", 1, 1, D("0.0011"), 1, D("0.0012"))],
    "10_replays": [("failed", "model_refused", 1, 2, 1, D("0.042"))],
    "11_data_classes_by_route": [
        ("confidential", "north", "eu", 1, 1),
        ("internal", "north", "eu", 3, 4),
        ("internal", "south", "us", 1, 1),
        ("public", "north", "eu", 2, 2),
        ("public", "south", "us", 1, 1),
    ],
    "13_verdicts_by_model": [
        ("north", "small", "summarise", 2, D("1.0000"), D("0.5000")),
        ("south", "large", "summarise", 1, D("0.0000"), None),
    ],
    "12_tokens_cached": [
        ("acme", "north", "small", 300, 100, D("0.3333")),
        ("acme", "south", "large", 800, 0, D("0.0000")),
        ("bolt", "north", "small", 100, 0, D("0.0000")),
    ],
}
WENT: Final = {
    ("plain", "north", "eu", 1),
    ("fallback", "north", "eu", 1),
    ("fallback", "south", "us", 1),
    ("doubt", "north", "eu", 2),
    ("refused", "north", "eu", 1),
    ("replay", "north", "eu", 1),
    ("again", "south", "us", 1),
}


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


@pytest_asyncio.fixture
async def quarter(flow: Flow) -> Flow:
    for name, history in TOLD.items():
        await tell(flow, replace(history, record_id=IDS[name]))
    return flow


@pytest_asyncio.fixture
async def analyst(database: str, logins: dict[str, str]) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(as_login(database, logins["analyst"]))
    yield connection
    await connection.close()


async def test_every_question_has_the_answer_worked_out_by_hand(quarter: Flow, analyst: Connection) -> None:
    assert len(QUESTIONS) == 13
    assert set(QUESTIONS) == {*ANSWERS, "08_where_a_tenants_data_went"}
    answers = {name: await asked(analyst, question) for name, question in QUESTIONS.items()}
    names = {record_id: name for name, record_id in IDS.items()}
    went = answers.pop("08_where_a_tenants_data_went")
    assert {(names[row[0]], *row[1:4]) for row in went} == WENT
    assert [row[4] for row in went] == sorted(row[4] for row in went)
    assert answers == ANSWERS


async def test_views_tell_reasons_findings_checks_and_lineage(flow: Flow, analyst: Connection) -> None:
    first = await tell(
        flow,
        History(
            MONDAY,
            [Call(outcome="failed", failure_class="overloaded", usd="0"), Call(valid=False)],
            Status.FAILED,
            ErrorCode.VALIDATION_FAILED,
            findings=("email", "iban"),
            reasons=("pii_present", "chosen"),
        ),
    )
    second = await tell(flow, History(SUNDAY, [Call(valid=True)], replay_of=first))
    third = await tell(flow, History(FEBRUARY, [Call(valid=True)], replay_of=second))

    async def rows(view: str, *columns: str) -> list[tuple[Any, ...]]:
        found = await analyst.fetch(_SQL["view"].format(view=view))
        return sorted(tuple(row[column] for column in columns) for row in found)

    assert await rows("decision_reason", "record_id", "seq", "position", "code", "text") == [
        (first, 2, 1, "pii_present", "because of pii_present"),
        (first, 2, 2, "chosen", "because of chosen"),
        (second, 2, 1, "chosen", "because of chosen"),
        (third, 2, 1, "chosen", "because of chosen"),
    ]
    located = ("record_id", "seq", "position", "type", "text_number", "start_character", "end_character", "detector")
    assert await rows("finding", *located) == [
        (first, 1, 1, "email", 0, 0, 5, "pattern"),
        (first, 1, 2, "iban", 0, 10, 15, "pattern"),
    ]
    assert await rows("validation", "record_id", "seq", "attempt_seq", "check_name", "result") == [
        (first, 7, 5, "schema", "fail"),
        (second, 5, 3, "schema", "pass"),
        (third, 5, 3, "schema", "pass"),
    ]
    assert await rows("schema_validity", "day", "model", "answers", "valid", "validity") == [
        (date(2026, 1, 5), "small", 1, 0, D(0)),
        (date(2026, 1, 11), "small", 1, 1, D(1)),
        (date(2026, 2, 10), "small", 1, 1, D(1)),
    ]
    assert await rows("replay_lineage", "root_id", "root_status", "generation", "record_id", "replay_of", "status") == [
        (first, "failed", 1, second, first, "succeeded"),
        (first, "failed", 2, third, second, "succeeded"),
    ]
    assert await analyst.fetchval(_SQL["id_from"], MONDAY) <= first < await analyst.fetchval(_SQL["id_from"], SUNDAY)


async def test_an_analyst_reads_every_fact_and_nothing_else(
    quarter: Flow, connection: Connection, analyst: Connection
) -> None:
    relations = [row["name"] for row in await connection.fetch(_SQL["facts_relations"])]
    others = [row["statement"] for row in await connection.fetch(_SQL["everything_else"])]
    assert len(others) > 10
    for relation in relations:
        await analyst.fetchval(_SQL["count"].format(relation=relation))
    assert await analyst.fetchval(_SQL["count"].format(relation="facts.decision_reason")) > 0
    for statement in others:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await analyst.fetch(statement)
    for rebuild in ("begin_rebuild", "missed_by_rebuild", "finish_rebuild"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await analyst.fetch(_SQL["call"].format(function=rebuild))


async def asked(connection: Connection, question: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(question)]


def test_ids_are_of_their_moment() -> None:
    assert all(isinstance(record_id, UUID) and record_id.version == 7 for record_id in IDS.values())
