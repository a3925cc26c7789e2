"""OpenAI's wire format: endpoints, headers and errors. Knows nothing of how the simulated model behaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import orjson
from pydantic import ValidationError

from services.standalone.simulator.calls import Fault, InvalidCallError, RateState, WireRequest
from services.standalone.simulator.openai_requests import CREATED, ChatRequest, EmbeddingsRequest

_REQUESTS: Final[Mapping[str, type[ChatRequest] | type[EmbeddingsRequest]]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/embeddings": EmbeddingsRequest,
}

_ERROR_TYPES: Final = {429: "requests"}
_ERROR_CODES: Final = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
_VALIDATION_CODES: Final = {
    "missing": "missing_required_parameter",
    "too_short": "empty_array",
    "too_long": "array_above_max_length",
    "string_too_short": "invalid_value",
    "literal_error": "invalid_value",
    "greater_than_equal": "integer_below_min_value",
    "less_than_equal": "integer_above_max_value",
    "string_pattern_mismatch": "invalid_value",
}


class OpenAIWire:
    """OpenAI's endpoints, as the server uses them."""

    paths: Final = frozenset(_REQUESTS)

    def read(self, path: str, body: bytes) -> WireRequest:
        """Parse a request to one of ``paths``; raises :class:`InvalidCallError` with OpenAI's codes."""
        try:
            return _REQUESTS[path].model_validate_json(body)
        except ValidationError as error:
            raise _invalid(error) from None

    def models(self, names: Sequence[str]) -> bytes:
        """The body of ``GET /v1/models``."""
        owner = "waybill-provider-simulator"
        data = [{"id": name, "object": "model", "created": CREATED, "owned_by": owner} for name in names]
        return orjson.dumps({"object": "list", "data": data})

    def error(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> bytes:
        """An error body; the type follows from the status."""
        kind = _ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        if code == "insufficient_quota":
            kind = code
        return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})

    def fault(self, fault: Fault) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a simulated error status."""
        code = fault.code or _ERROR_CODES.get(fault.status)
        headers = {}
        retry_after = fault.retry_after
        if fault.status == 429 and code != "insufficient_quota":
            retry_after = max(1, retry_after or 1)
            headers = self._rate_headers(RateState(limit=1.0, remaining=0, reset_s=float(retry_after)))
        if retry_after is not None:
            headers["retry-after"] = str(retry_after)
        return self.error(fault.status, f"Simulated provider failure: HTTP {fault.status}.", code=code), headers

    def call_headers(self, call_id: str, processing_s: float, rate: RateState | None) -> dict[str, str]:
        """The headers of every answer to a call that got as far as the model or its limits."""
        headers = {"x-request-id": call_id, "openai-processing-ms": str(int(processing_s * 1000))}
        return headers if rate is None else headers | self._rate_headers(rate)

    def _rate_headers(self, rate: RateState) -> dict[str, str]:
        """The ``x-ratelimit-*`` headers; the simulator limits requests only, so tokens are always plenty."""
        return {
            "x-ratelimit-limit-requests": str(math.ceil(rate.limit)),
            "x-ratelimit-remaining-requests": str(rate.remaining),
            "x-ratelimit-reset-requests": _go_duration(rate.reset_s),
            "x-ratelimit-limit-tokens": "150000000",
            "x-ratelimit-remaining-tokens": "149999999",
            "x-ratelimit-reset-tokens": "0s",
        }


def _invalid(error: ValidationError) -> InvalidCallError:
    """The first thing wrong, in OpenAI's words; never what the client sent, which may be content."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return InvalidCallError("We could not parse the JSON body of your request.")
    # Union members show up in the path by their type's name; OpenAI's paths hold field names and indexes only.
    path = [step for step in first["loc"] if isinstance(step, int) or (step.isidentifier() and step != "str")]
    param = ".".join(str(step) for step in path if isinstance(step, int) or not step.startswith("_")) or None
    if first["type"] == "missing":
        message = f"Missing required parameter: '{param}'."
    else:
        message = f"Invalid value for '{param}': {first['msg']}."
    return InvalidCallError(message, param=param, code=_VALIDATION_CODES.get(first["type"], "invalid_type"))


def _go_duration(seconds: float) -> str:
    """A duration as Go prints it, which is how OpenAI does: ``12ms``, ``1.5s``, ``6m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms" if seconds > 0 else "0s"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"
