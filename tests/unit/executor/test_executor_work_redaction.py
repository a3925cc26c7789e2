"""A record whose decision asks for redaction: what is sent, what is recorded, and when nothing is sent at all."""

from __future__ import annotations

import orjson
import pytest
from executor_bench import BUSY, FINISHED, STARTED, VALIDATED, Bench
from executor_fake_ledger import an_answer

from schemas.codes import ErrorCode, Status
from services.runtime import vault

EMAIL = "jo@example.com"


@pytest.fixture
def redacting(bench: Bench) -> Bench:
    """A record with an address in it, under orders to redact it."""
    bench.ledger.job = {"operation": "chat", "messages": [{"role": "user", "content": f"Write to {EMAIL}."}]}
    bench.orders = bench.orders.model_copy(
        update={"policy": bench.orders.policy.model_copy(update={"redact": ["personal"]})}
    )
    return bench


async def test_the_provider_sees_placeholders_and_the_record_has_the_values(redacting: Bench) -> None:
    outcome = await redacting.run(BUSY, an_answer("Dear [EMAIL_1],"))
    redacting.ends(outcome, Status.SUCCEEDED)
    assert [job["messages"][0]["content"] for job in redacting.routes.jobs] == ["Write to [EMAIL_1]."] * 2
    assert [data["layout"] for data in redacting.ledger.data(STARTED)] == ["plain-1+redacted-1"] * 2
    (content,) = redacting.ledger.contents
    output = redacting.ledger.key.decrypt(content.entry_id, vault.OUTPUT, content.ciphertext)
    assert orjson.loads(output)["choices"][0]["message"]["content"] == f"Dear {EMAIL},"
    (validated,) = redacting.ledger.data(VALIDATED)
    assert validated["checks"] == [{"name": "complete", "result": "pass"}, {"name": "leak", "result": "pass"}]
    assert validated["safety_actions"] == ["redacted"]
    assert not any(EMAIL in entry.body for entry in redacting.ledger.chain)


async def test_an_answer_that_leaks_has_not_passed(redacting: Bench) -> None:
    outcome = await redacting.run(an_answer("Dear al@example.com,"))
    redacting.ends(outcome, Status.FAILED, ErrorCode.VALIDATION_FAILED)
    (validated,) = redacting.ledger.data(VALIDATED)
    assert {"name": "leak", "result": "fail"} in validated["checks"]


async def test_a_job_that_cannot_be_redacted_is_not_sent(redacting: Bench) -> None:
    tool = {"type": "function", "function": {"name": "123-45-6789"}}
    redacting.ledger.job = {
        "operation": "chat",
        "messages": [{"role": "user", "content": "SSN: 123-45-6789"}],
        "tools": [tool],
    }
    outcome = await redacting.run()
    redacting.ends(outcome, Status.FAILED, ErrorCode.REDACTION_FAILED)
    assert (redacting.routes.calls, redacting.events) == ([], ["redaction_failed"])
    assert redacting.ledger.data(STARTED) == redacting.ledger.data(FINISHED) == []
