"""An outage, and what on-call does after it: the failed jobs run again, once, as new records beside the old ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from support import stack_jobs
from support.oracle import faults, read_history
from support.stack_running import RunningStack
from support.stack_topics import publish, tape

from schemas.result import Result
from services.standalone.simulator.ledger import read_ledger


async def test_what_an_outage_failed_is_replayed_once(stack: RunningStack, tmp_path: Path) -> None:
    tenant = stack_jobs.new_tenant("replay")
    jobs = stack_jobs.many(tenant, 3)
    file = stack_jobs.write_lines(tmp_path / "jobs.jsonl", jobs)
    out = tmp_path / "out.jsonl"
    results = await tape(stack.settings(), stack.results_topic)

    await stack.simulate(mode="status:503")
    await stack.waybill("publish", str(file), "--wait", "--out", str(out), status=1)
    originals = {line["idempotency_key"]: line for line in stack_jobs.read_lines(out)}
    assert {line["status"] for line in originals.values()} == {"failed"}
    assert {line["error"]["code"] for line in originals.values()} == {"provider_failed"}
    charged = len(read_ledger(stack.charges))
    before = await _shown(stack, [line["record_id"] for line in originals.values()])
    await stack.simulate_nothing()

    selection = ("replay", "--status", "failed", "--tenant", tenant, "--since", "1h", "--json")
    planned = (await stack.waybill(*selection, "--dry-run")).json()
    assert {row["record_id"]: row["state"] for row in planned["records"]} == dict.fromkeys(before, "ready")
    assert (await stack.progress(tenant)).sealed == len(jobs)

    await stack.waybill(*selection)
    # At once again, while the first may not have been taken in yet.
    await stack.waybill(*selection)
    await stack.until_done(tenant, 2 * len(jobs))

    latest = {}
    for value in await results.results_of(tenant):
        result = Result.model_validate_json(value)
        if result.replay_of is not None:
            latest[str(result.idempotency_key)] = result
    assert {key: str(result.replay_of) for key, result in latest.items()} == {
        key: line["record_id"] for key, line in originals.items()
    }
    assert {result.status for result in latest.values()} == {"succeeded"}
    assert len(read_ledger(stack.charges)) == charged + len(jobs)

    after = await _shown(stack, list(before))
    for record_id, record in before.items():
        assert after[record_id]["entries"] == record["entries"]
        replays = [str(r.record_id) for r in latest.values() if str(r.replay_of) == record_id]
        assert after[record_id]["replayed_by"] == [{"record_id": replay, "status": "succeeded"} for replay in replays]
    shown = await _shown(stack, [str(result.record_id) for result in latest.values()])
    for result in latest.values():
        received = shown[str(result.record_id)]["entries"][0]["body"]["data"]
        assert UUID(received["replay_of"]) == result.replay_of

    done = (await stack.waybill(*selection)).json()
    assert {row["state"] for row in done["records"]} == {"replayed"}

    again = tmp_path / "again.jsonl"
    await stack.waybill("publish", str(file), "--wait", "--out", str(again))
    assert {line["record_id"] for line in stack_jobs.read_lines(again)} == {
        str(result.record_id) for result in latest.values()
    }
    history = await read_history(
        stack.database_url,
        stack.charges,
        stack.stack.folder.master_key,
        tenant,
        stack_jobs.keys(jobs),
        await results.results_of(tenant),
    )
    assert faults(history, further_records=len(jobs)) == []


async def test_a_replay_that_lies_on_the_topic_twice_is_taken_in_once(stack: RunningStack, tmp_path: Path) -> None:
    tenant = stack_jobs.new_tenant("replay")
    (job,) = stack_jobs.many(tenant, 1)
    out = tmp_path / "out.jsonl"
    results = await tape(stack.settings(), stack.results_topic)
    file = stack_jobs.write_lines(tmp_path / "job.jsonl", [job])
    await stack.waybill("publish", str(file), "--wait", "--out", str(out))
    (line,) = stack_jobs.read_lines(out)
    request = {"schema_version": 1, "type": "replay", "tenant": tenant, "record_id": line["record_id"]}

    await publish(stack.settings, stack_jobs.documents(stack.settings(), line["record_id"], [request] * 3))
    await stack.until_done(tenant, 2)
    # Whatever was published before this job has been taken in when it has ended.
    last = stack_jobs.job(tenant, "last")
    await publish(stack.settings, stack_jobs.documents(stack.settings(), line["record_id"], [last]))
    await stack.until_done(tenant, 3)

    history = await read_history(
        stack.database_url,
        stack.charges,
        stack.stack.folder.master_key,
        tenant,
        [job["idempotency_key"], "last"],
        await results.results_of(tenant),
    )
    assert faults(history, further_records=1) == []


async def _shown(stack: RunningStack, record_ids: list[str]) -> dict[str, Any]:
    printed = await stack.waybill("record", "show", *record_ids, "--json")
    return {record["record_id"]: record for record in printed.json()["records"]}
