"""Results as OpenAI's output and error lines."""

from __future__ import annotations

from typing import Any

import pytest
from publish_samples import OUTPUT, RECORD, failure, item, result

from schemas.codes import ErrorCode
from schemas.result import Result
from services.cli.publishing.items import Refusal
from services.cli.publishing.openai_output import failure_line, output_line, refusal_line, succeeded

ID = f"batch_req_{RECORD.hex}"


def line(**more: Any) -> dict[str, Any]:
    return output_line(Result.model_validate(result(metadata={"custom_id": "req-1"}, **more)))


def test_an_answer_comes_back_under_its_custom_id() -> None:
    assert line() == {
        "id": ID,
        "custom_id": "req-1",
        "response": {"status_code": 200, "request_id": f"req_{RECORD.hex}", "body": OUTPUT},
        "error": None,
    }


@pytest.mark.parametrize(("status", "code"), [("expired", "batch_expired"), ("cancelled", "batch_cancelled")])
def test_openai_codes_are_used_where_there_are_some(status: str, code: str) -> None:
    ours = {"expired": "deadline_passed", "cancelled": "cancelled"}[status]
    written = line(status=status, error=failure(ours))
    assert (written["response"], written["error"]) == (None, {"code": code, "message": f"about {ours}"})


def test_a_bad_job_is_a_bad_request() -> None:
    written = line(status="rejected", error=failure("invalid_message", "params.temperature"))
    assert written["error"] is None
    assert written["response"]["status_code"] == 400
    assert written["response"]["body"]["error"] == {
        "message": "about invalid_message",
        "type": "invalid_request_error",
        "param": "body.temperature",
        "code": "invalid_message",
    }


@pytest.mark.parametrize("code", ErrorCode)
def test_every_failure_says_exactly_one_thing(code: str) -> None:
    written = line(status="failed", error=failure(code))
    assert set(written) == {"id", "custom_id", "response", "error"}
    assert (written["response"] is None) != (written["error"] is None)
    if written["response"]:
        assert written["response"]["status_code"] >= 400


def test_erased_content_is_a_failure_under_the_id_we_remember() -> None:
    erased = Result.model_validate(result(output=None))
    assert not succeeded(erased)
    written = output_line(erased, "req-9")
    assert (written["custom_id"], written["error"]["code"]) == ("req-9", "content_erased")


def test_lines_without_a_record_have_the_same_shape() -> None:
    refused = refusal_line(Refusal(4, "unsupported_parameter", "is not supported", "body.n", "req-4"))
    assert set(refused) == set(line())
    assert refused["response"]["body"]["error"]["message"] == "line 4: body.n is not supported"
    assert refused["response"]["body"]["error"]["param"] == "body.n"
    failed = failure_line(item(4).line, "req-4", "invalid_message", "tenant: missing")
    assert set(failed) == set(line())
    assert failed["id"] != refused["id"]
