"""Content of jobs, answers and errors of providers is in the vault and on edge topics, and nowhere else in a stack."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pytest
import pytest_asyncio
from support import stack_jobs
from support.canaries import EDGE, Places, places_with
from support.canary_provider import canary_provider
from support.stack_running import ROOT, RunningStack, running_stack
from support.stack_topics import by_hand, publish, tape

from schemas.topics import DEAD_LETTER, REQUESTS, RESULTS

ASKED, SAID, WHY = "Zebrafinkcanary", "Quokkacanary", "Axolotlcanary"
"""What jobs say, what the provider says, and what a person says who reads both."""
ENDINGS: Final = {
    "sim-ok": "succeeded",
    "sim-refuse": "failed",
    "sim-fail": "failed",
    "sim-malformed": "failed",
    "no-such-alias": "rejected",
    "wrong": "rejected",
    "unknown": "rejected",
}
_PLACE_OF_ADDRESS: Final = "${WAYBILL_SIMULATOR_URL}/v1"


def full_job(tenant: str, name: str) -> dict[str, Any]:
    """Return a job with a canary in every field that takes a caller's free text; labels are no content."""
    schema = {"type": "object", "properties": {f"{ASKED}Property": {"description": ASKED, "enum": [ASKED]}}}
    document: dict[str, Any] = {
        "schema_version": 1,
        "tenant": tenant,
        "latency_class": "background",
        "alias": name if name.startswith(("sim-", "no-such")) else "sim-ok",
        "messages": [
            {"role": "system", "content": ASKED},
            {"role": "user", "content": [{"type": "text", "text": ASKED}], "name": f"{ASKED}Name"},
            {
                "role": "assistant",
                "tool_calls": [{"id": f"{ASKED}Call", "function": {"name": "kb_search", "arguments": f'"{ASKED}"'}}],
            },
            {"role": "tool", "tool_call_id": f"{ASKED}Call", "content": ASKED},
            {"role": "user", "content": f"{ASKED} {name}"},
        ],
        "documents": [
            {"id": ASKED, "text": ASKED, "source": f"https://{ASKED}.example", "title": ASKED, "trust": "web"}
        ],
        "tools": [{"function": {"name": "kb_search", "description": ASKED, "parameters": schema}}],
        "params": {"stop": [f"{ASKED} stop"]},
        "idempotency_key": f"{ASKED}-{name}",
        "metadata": {ASKED: {ASKED: [ASKED]}},
        "subject": f"{ASKED} subject",
    }
    match name:
        case "wrong":
            document["quality"] = ASKED
        case "unknown":
            # A name that could be a field's is told, so that a slip of the pen can be found.
            document[f"{ASKED} field"] = ASKED
    return document


@dataclass(frozen=True)
class Told:
    """A stack to which everything was said."""

    stack: RunningStack
    tenant: str
    ok: str
    """The record that succeeded."""


@pytest_asyncio.fixture(scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Told]:
    config = tmp_path_factory.mktemp("waybill") / "config"
    shutil.copytree(ROOT / "config", config)
    with canary_provider(SAID) as address:
        catalog = config / "catalog.yaml"
        text = catalog.read_text()
        assert _PLACE_OF_ADDRESS in text
        catalog.write_text(text.replace(_PLACE_OF_ADDRESS, address))
        with running_stack({"WAYBILL_CONFIG_DIR": str(config), "WAYBILL_LOG_LEVEL": "DEBUG"}) as stack:
            await stack.until_ready()
            yield await _tell(stack)


async def _tell(stack: RunningStack) -> Told:
    tenant = stack_jobs.new_tenant("canaries")
    settings = stack.settings()
    results = await tape(settings, stack.results_topic)
    letters = await tape(settings, stack.dead_letter_topic)
    jobs = [full_job(tenant, name) for name in ENDINGS]
    conflict = full_job(tenant, "sim-ok") | {"quality": "high"}
    await publish(stack.settings, stack_jobs.messages(settings, [*jobs, conflict]))
    async with by_hand(settings) as producer:
        dead = f'{{"tenant": "{ASKED}!", "text": "{ASKED}"}}'.encode()
        await producer.send_and_wait(
            settings.topic(REQUESTS.name), dead, ASKED.encode(), headers=[(ASKED, ASKED.encode())]
        )
    await stack.until_done(tenant, len(ENDINGS) + 1)
    await letters.until(lambda records: len(records) == 1, "the dead letter is kept")
    finals = [orjson.loads(value) for value in await results.results_of(tenant)]
    statuses = {(final["idempotency_key"], final["status"]) for final in finals}
    assert statuses >= {(f"{ASKED}-{name}", status) for name, status in ENDINGS.items()}
    ok = next(final["record_id"] for final in finals if final["status"] == "succeeded")
    await stack.waybill("replay", ok)
    await stack.until_done(tenant, len(ENDINGS) + 2)
    shown = await stack.waybill("record", "show", ok, "--content", "--reason", f"{WHY}: to see it", "--json")
    (record,) = shown.json()["records"]
    seen = {piece["kind"]: str(piece["content"]) for piece in record["content"] if piece["matches_digest"]}
    assert {kind for kind, text in seen.items() if ASKED in text} == {"job", "request"}
    assert {kind for kind, text in seen.items() if SAID in text} == {"output"}
    return Told(stack, tenant, ok)


async def test_the_canaries_are_where_content_belongs(told: Told) -> None:
    found = await places_with(ASKED, places=Places.of_stack(told.stack, EDGE))
    assert {f"topic {topic.name}, value" for topic in (REQUESTS, RESULTS, DEAD_LETTER)} <= set(found)
    assert f"topic {RESULTS.name}, value" in await places_with(SAID, places=Places.of_stack(told.stack, EDGE))


async def test_they_are_nowhere_else(told: Told) -> None:
    assert await places_with(ASKED, SAID, places=Places.of_stack(told.stack)) == []


async def test_why_content_was_read_is_in_the_access_log_alone(told: Told) -> None:
    assert await places_with(WHY, places=Places.of_stack(told.stack)) == ["table record.access_log"]
