"""The checks of an answer: pure. Each passes, fails, or says that it could not be made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import orjson

from schemas.entries import Check
from services.executor.adapter import Answer


def validate(job: Mapping[str, Any], answer: Answer) -> list[Check]:
    """Return the checks that a job asks for: that the answer is whole, is JSON, satisfies its schema."""
    checks = [Check(name="complete", result="fail" if answer.finish_reason == "length" else "pass")]
    wanted = job.get("response_format") or {}
    # A model that calls a tool has not answered yet: the format is for the answer.
    calls_a_tool = answer.finish_reason == "tool_calls" and not answer.text
    if wanted.get("type") in ("json_object", "json_schema") and not calls_a_tool:
        checks += _json_checks(wanted, answer.text)
    return checks


def passed(checks: list[Check]) -> bool:
    """Whether the answer may be used. One cut off by its token cap is delivered, and says so; all else must pass."""
    return all(check["result"] == "pass" for check in checks if check["name"] != "complete")


def _json_checks(wanted: Mapping[str, Any], text: str) -> list[Check]:
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return [Check(name="json", result="fail")]
    checks = [Check(name="json", result="pass" if isinstance(parsed, dict) else "fail")]
    if wanted["type"] == "json_schema":
        schema = wanted["json_schema"]["schema"]
        try:
            checks = [Check(name="schema", result="pass" if _satisfies(parsed, schema) else "fail")]
        except ValueError:  # the schema itself is not valid, or refers to something outside itself
            checks = [Check(name="schema", result="error")]
    return checks


def _satisfies(parsed: Any, schema: Any) -> bool:
    # Offline: a caller's `$ref` must reach neither the network nor the file system.
    return jsonschema_rs.is_valid(schema, parsed, offline=True)
