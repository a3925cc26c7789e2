"""An OpenAI batch file from the command line and back: every line answered, recorded, and paid once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from support.oracle import faults, read_history
from support.stack_jobs import job_count, new_tenant, openai_batch, read_lines, write_lines
from support.stack_running import RunningStack
from support.stack_topics import tape

from services.cli.publishing.openai_batch import line_key
from services.standalone.simulator.ledger import read_ledger

_CHAT_FIELDS: Final = {"id", "object", "created", "model", "choices", "usage"}


async def test_every_line_is_answered_recorded_and_paid_once(stack: RunningStack, tmp_path: Path) -> None:
    tenant, lines = new_tenant("batch-file"), openai_batch(job_count(600))
    file, out, errors = write_lines(tmp_path / "in.jsonl", lines), tmp_path / "out.jsonl", tmp_path / "errors.jsonl"
    publish = (
        *("publish", str(file), "--format", "openai-batch", "--tenant", tenant, "--json"),
        *("--wait", "--out", str(out), "--errors", str(errors)),
    )
    keys = [line_key(line) for line in lines]
    results = await tape(stack.settings(), stack.results_topic)

    summary = (await stack.waybill(*publish)).json()

    assert summary["published"] == summary["results"]["succeeded"] == len(lines)
    assert summary["missing"] == summary["refused"] == 0
    first = read_lines(out)
    _assert_answers_in_openai_format(lines, first)
    assert errors.read_bytes() == b""
    await stack.until_done(tenant, len(lines))
    first_results = await results.results_of(tenant)
    history = await read_history(
        stack.database_url, stack.charges, stack.stack.folder.master_key, tenant, keys, first_results
    )
    assert faults(history) == []
    assert len(first_results) == len(lines)
    charged = len(read_ledger(stack.charges))

    again = (await stack.waybill(*publish)).json()

    assert again["results"]["succeeded"] == len(lines)
    assert sorted(read_lines(out), key=_custom_id) == sorted(first, key=_custom_id)
    assert len(read_ledger(stack.charges)) == charged
    history = await read_history(
        stack.database_url, stack.charges, stack.stack.folder.master_key, tenant, keys, await results.results_of(tenant)
    )
    assert faults(history) == []
    assert len(history.results) >= 2 * len(lines)


async def test_what_cannot_be_asked_for_is_refused_by_name_and_the_rest_is_answered(
    stack: RunningStack, tmp_path: Path
) -> None:
    tenant, (good, twice) = new_tenant("batch-file"), openai_batch(2)
    twice["body"]["n"] = 2
    file, out, errors = (
        write_lines(tmp_path / "in.jsonl", [good, twice]),
        tmp_path / "out.jsonl",
        tmp_path / "err.jsonl",
    )

    printed = await stack.waybill(
        *("publish", str(file), "--tenant", tenant, "--wait", "--out", str(out), "--errors", str(errors)), status=1
    )

    assert "refused   1" in printed.out
    assert [line["custom_id"] for line in read_lines(out)] == [good["custom_id"]]
    (refusal,) = read_lines(errors)
    assert refusal["custom_id"] == twice["custom_id"]
    assert refusal["response"]["status_code"] == 400
    assert refusal["response"]["body"]["error"]["param"] == "body.n"


def _custom_id(line: dict[str, Any]) -> str:
    return str(line["custom_id"])


def _assert_answers_in_openai_format(lines: Any, answers: list[dict[str, Any]]) -> None:
    assert sorted(map(_custom_id, answers)) == sorted(map(_custom_id, lines))
    asked = {line["custom_id"]: line for line in lines}
    for answer in answers:
        assert set(answer) == {"id", "custom_id", "response", "error"}
        assert answer["error"] is None
        assert answer["response"]["status_code"] == 200
        body = answer["response"]["body"]
        if asked[answer["custom_id"]]["url"] == "/v1/embeddings":
            assert body["object"] == "list"
            assert body["data"][0]["embedding"]
        else:
            assert set(body) >= _CHAT_FIELDS
            assert body["choices"][0]["message"]["role"] == "assistant"
            assert body["choices"][0]["message"]["content"]
