"""Results as lines of OpenAI's batch output and error files: pure.

A job at fault gets a ``response`` with an HTTP status, as a bad request would; what failed for any other reason gets
an ``error``, with OpenAI's own code where it has one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from schemas.codes import ErrorCode, Status
from schemas.result import Result, ResultError
from services.cli.publishing.items import Refusal

_HTTP_STATUS: Final[Mapping[ErrorCode, int]] = {
    ErrorCode.INVALID_MESSAGE: 400,
    ErrorCode.UNKNOWN_FIELD: 400,
    ErrorCode.UNSUPPORTED_SCHEMA_VERSION: 400,
    ErrorCode.UNSUPPORTED_CONTENT: 400,
    ErrorCode.LATENCY_CLASS_REFUSED: 400,
    ErrorCode.TENANT_MISMATCH: 403,
    ErrorCode.IDEMPOTENCY_CONFLICT: 409,
    ErrorCode.TOO_LARGE: 413,
}
_OPENAI_CODE: Final[Mapping[Status, str]] = {Status.EXPIRED: "batch_expired", Status.CANCELLED: "batch_cancelled"}
_BODY_FIELD: Final = {"caps.max_output_tokens": "max_completion_tokens"}


def succeeded(result: Result) -> bool:
    """Whether there is an answer to deliver; content that was erased since is none."""
    return result.status is Status.SUCCEEDED and result.output is not None


def output_line(result: Result, custom_id: str | None = None) -> dict[str, Any]:
    """Return the line of a result, for the output file where it :func:`succeeded`, else for the error file.

    ``custom_id`` stands in where the result carries none, because its content was erased.
    """
    if not succeeded(result):
        return _error_line(result, custom_id)
    return _line(result, custom_id, response=_response(200, result, result.output))


def refusal_line(refusal: Refusal) -> dict[str, Any]:
    """Return the error line of what was never published; its id is made of what it says."""
    digest = hashlib.sha256(str(refusal).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    message = f"line {refusal.line}: {refusal.sentence}"
    error = {"message": message, "type": "invalid_request_error", "param": refusal.field, "code": refusal.code}
    return {
        "id": f"batch_req_{digest}",
        "custom_id": refusal.custom_id,
        "response": {"status_code": 400, "request_id": f"req_{digest}", "body": {"error": error}},
        "error": None,
    }


def failure_line(line: int, custom_id: str | None, code: str, message: str) -> dict[str, Any]:
    """Return the error line of what was published and is no record."""
    digest = hashlib.sha256(f"{line}:{custom_id}:{code}".encode()).hexdigest()[:32]
    return {
        "id": f"batch_req_{digest}",
        "custom_id": custom_id,
        "response": None,
        "error": {"code": code, "message": message},
    }


def _error_line(result: Result, custom_id: str | None) -> dict[str, Any]:
    error = result.error or ResultError(
        code=ErrorCode.CONTENT_ERASED, message="The content of this job was erased.", retriable=False
    )
    if error.code in _HTTP_STATUS:
        body = {
            "error": {
                "message": error.message,
                "type": "invalid_request_error",
                "param": _param(error.field),
                "code": error.code,
            }
        }
        return _line(result, custom_id, response=_response(_HTTP_STATUS[error.code], result, body))
    code = _OPENAI_CODE.get(result.status, error.code)
    return _line(result, custom_id, error={"code": str(code), "message": error.message})


def _line(
    result: Result,
    custom_id: str | None,
    *,
    response: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "id": f"batch_req_{result.record_id.hex}",
        "custom_id": result.metadata.get("custom_id", custom_id),
        "response": response,
        "error": error,
    }


def _response(status: int, result: Result, body: Any) -> dict[str, Any]:
    return {"status_code": status, "request_id": f"req_{result.record_id.hex}", "body": body}


def _param(field: str | None) -> str | None:
    """Return the path in the batch line of a path in the job."""
    if field is None:
        return None
    return f"body.{_BODY_FIELD.get(field, field.removeprefix('params.'))}"
