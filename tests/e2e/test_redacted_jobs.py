"""A job whose policy has values redacted: the provider gets placeholders, the result has the values, nothing else does.

The answer has to be one of the addresses in the job's own schema. The provider is shown placeholders there as well, and
can only choose among them.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pytest
import pytest_asyncio
from support import stack_jobs
from support.canaries import Places, places_with
from support.stack_running import ROOT, RunningStack, running_stack
from support.stack_topics import publish, tape

ADDRESS: Final = "quokka.canary@example.org"
NUMBER: Final = "QX81934CANARY"
_RULE: Final = """
  - id: personal-redacted
    description: Providers see placeholders for what says who somebody is.
    when: size(findings) > 0
    effects: {redact: [personal, health]}
"""


def to_be_redacted(tenant: str) -> dict[str, Any]:
    """Return a job whose answer has to name an address that no provider is shown."""
    schema = {"type": "object", "properties": {"to": {"type": "string", "enum": [ADDRESS]}}, "required": ["to"]}
    call = {"id": "c1", "function": {"name": "kb_search", "arguments": f'{{"q": "{ADDRESS}"}}'}}
    return stack_jobs.job(
        tenant,
        "redacted",
        messages=[
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": f"MRN: {NUMBER}, {ADDRESS}"},
            {"role": "user", "content": f"Who is {NUMBER}? [EMAIL_1]"},
        ],
        documents=[{"id": "d1", "text": f"Write to {ADDRESS}.", "title": f"Of {ADDRESS}", "trust": "internal"}],
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        metadata={"of": ADDRESS},
    )


@dataclass(frozen=True)
class Told:
    """A stack that did such a job, and what came of it."""

    stack: RunningStack
    result: dict[str, Any]
    plain: str
    """The record of a job in which nothing is found."""

    @property
    def record_id(self) -> str:
        """The record of the job that was redacted."""
        return str(self.result["record_id"])


@pytest_asyncio.fixture(scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Told]:
    config = tmp_path_factory.mktemp("waybill") / "config"
    shutil.copytree(ROOT / "config", config)
    policy = config / "policies" / "default.yaml"
    policy.write_text(policy.read_text() + _RULE)
    with running_stack({"WAYBILL_CONFIG_DIR": str(config), "WAYBILL_LOG_LEVEL": "DEBUG"}) as stack:
        await stack.until_ready()
        tenant = stack_jobs.new_tenant("redacting")
        settings = stack.settings()
        results = await tape(settings, stack.results_topic)
        jobs = [to_be_redacted(tenant), stack_jobs.job(tenant, "plain")]
        await publish(stack.settings, stack_jobs.messages(settings, jobs))
        await stack.until_done(tenant, 2)
        finals = [orjson.loads(value) for value in await results.results_of(tenant)]
        by_key = {final["idempotency_key"]: final for final in finals}
        yield Told(stack, by_key["redacted"], by_key["plain"]["record_id"])


async def shown(told: Told, record_id: str, *options: str) -> dict[str, Any]:
    """Return a record as `waybill record show` shows it, content by kind."""
    printed = await told.stack.waybill("record", "show", record_id, *options, "--reason", "a test", "--json")
    (record,) = printed.json()["records"]
    assert all(piece["matches_digest"] for piece in record["content"])
    return {**record, "content": {piece["kind"]: piece["content"] for piece in record["content"]}}


async def test_the_provider_got_placeholders_and_the_result_has_the_values(told: Told) -> None:
    assert told.result["status"] == "succeeded", told.result
    assert orjson.loads(told.result["output"]["choices"][0]["message"]["content"]) == {"to": ADDRESS}
    assert {"name": "leak", "result": "pass"} in told.result["validation"]
    record = await shown(told, told.record_id, "--content")
    assert set(record["content"]) == {"job", "redacted", "request", "output"}
    sent = orjson.dumps(record["content"]["request"]).decode()
    assert ADDRESS not in sent
    assert NUMBER not in sent
    assert "Who is [MEDICAL_RECORD_NUMBER_1]? [EMAIL_1]" in sent
    assert "[d1] Of [EMAIL_2]\\nWrite to [EMAIL_2]." in sent
    bodies = [entry["body"] for entry in record["entries"]]
    assert [body["data"]["layout"] for body in bodies if body["kind"] == "attempt_started"] == ["plain-1+redacted-1"]


async def test_the_redacted_text_is_read_alone_and_the_reading_is_noted(told: Told) -> None:
    before = len((await shown(told, told.record_id, "--redacted"))["access_log"])
    record = await shown(told, told.record_id, "--redacted")
    assert set(record["content"]) == {"redacted"}
    text = orjson.dumps(record["content"]).decode()
    assert ADDRESS not in text
    assert NUMBER not in text
    assert "[EMAIL_2]" in text
    assert [access["kind"] for access in record["access_log"][before:]] == ["redacted"]
    (classified,) = [entry["body"] for entry in record["entries"] if entry["body"]["kind"] == "classified"]
    assert classified["data"]["redaction"]["counts"] == {"email": 5, "medical_record_number": 2}
    await told.stack.waybill("record", "show", told.record_id, "--redacted", status=1)


async def test_where_nothing_was_found_there_is_no_redacted_text(told: Told) -> None:
    assert (await shown(told, told.plain, "--redacted"))["content"] == {}
    printed = await told.stack.waybill("record", "show", told.plain, "--redacted", "--reason", "a test")
    assert "nothing was found in it" in printed.out


async def test_what_was_redacted_is_nowhere_but_where_content_belongs(told: Told) -> None:
    assert await places_with(ADDRESS, NUMBER, places=Places.of_stack(told.stack)) == []


async def test_erasing_the_record_takes_the_redacted_text_with_it(told: Told) -> None:
    await told.stack.waybill("record", "erase", told.record_id, "--reason", "a test")
    assert (await shown(told, told.record_id, "--redacted"))["content"] == {}
    printed = await told.stack.waybill("record", "show", told.record_id, "--redacted", "--reason", "a test")
    assert "its content has been erased" in printed.out
