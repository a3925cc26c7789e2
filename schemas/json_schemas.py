"""The JSON Schemas of what Waybill reads and writes, made from the models.

What is read from clients is described as it is checked, what Waybill writes as it is written. A model's rules that
span several fields are code, which no generator sees; :data:`_CONDITIONS` says them again in JSON Schema.
"""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from schemas import messages
from schemas.codes import EntryKind
from schemas.decision import Decision
from schemas.entries import DATA
from schemas.features import Features
from schemas.feedback import Feedback
from schemas.job import Cancel, Job, Replay
from schemas.result import Notice, Result

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
JsonSchema = dict[str, Any]

READ: Final[dict[str, type[BaseModel]]] = {"job": Job, "cancel": Cancel, "replay": Replay, "feedback": Feedback}
"""What clients publish, by the name of its schema."""

WRITTEN: Final[dict[str, type[BaseModel]]] = {
    "result": Result,
    "notice": Notice,
    "classified": messages.Classified,
    "routed": messages.Routed,
    "outcome": messages.Outcome,
    "features": Features,
    "decision": Decision,
}
"""What Waybill writes, by the name of its schema."""

_NULL: Final[JsonSchema] = {"type": "null"}
_CONDITIONS: Final[dict[str, list[JsonSchema]]] = {
    "Job": [
        {
            # `chat` is the default: this holds without an operation as well.
            "if": {"properties": {"operation": {"const": "chat"}}},
            "then": {
                "required": ["messages"],
                "properties": {"messages": {"type": "array"}, "input": _NULL, "query": _NULL},
            },
        },
        {
            "if": {"properties": {"operation": {"const": "embed"}}, "required": ["operation"]},
            "then": {
                "required": ["input"],
                "properties": {"input": {"type": "array"}, "messages": _NULL, "query": _NULL},
            },
        },
        {
            "if": {"properties": {"operation": {"const": "rerank"}}, "required": ["operation"]},
            "then": {
                "required": ["query", "documents"],
                "properties": {
                    "query": {"type": "string", "minLength": 1},
                    "documents": {"type": "array", "minItems": 1},
                    "messages": _NULL,
                    "input": _NULL,
                },
            },
        },
    ],
    "ChatMessage": [
        {
            "anyOf": [
                {"required": ["content"], "properties": {"content": {"type": ["string", "array"]}}},
                {
                    "required": ["tool_calls"],
                    "properties": {"role": {"const": "assistant"}, "tool_calls": {"type": "array", "minItems": 1}},
                },
            ]
        },
        {
            "if": {"properties": {"role": {"const": "tool"}}},
            "then": {"required": ["tool_call_id"], "properties": {"tool_call_id": {"type": "string"}}},
        },
    ],
    "ResponseFormat": [
        {
            "if": {"properties": {"type": {"const": "json_schema"}}},
            "then": {"required": ["json_schema"], "properties": {"json_schema": {"type": "object"}}},
            "else": {"properties": {"json_schema": _NULL}},
        }
    ],
    "Feedback": [
        {
            "oneOf": [
                {"required": [name], "properties": {name: {"type": "string"}}}
                for name in ("record_id", "idempotency_key")
            ]
        }
    ],
}


class _Generator(GenerateJsonSchema):
    """Without the titles that only repeat a field's name."""

    schema_dialect = DIALECT

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schemas() -> dict[str, JsonSchema]:
    """Return every schema by its path below ``docs/schemas``; its ``$id`` is relative to where it stands."""
    documents = {f"{name}.schema.json": _of_model(model, "validation") for name, model in READ.items()}
    documents |= {f"{name}.schema.json": _of_model(model, "serialization") for name, model in WRITTEN.items()}
    documents |= {f"entries/{kind}.schema.json": _of_entry(kind) for kind in DATA}
    return {path: {"$schema": DIALECT, "$id": path.rsplit("/")[-1], **schema} for path, schema in documents.items()}


def _of_model(model: type[BaseModel], mode: JsonSchemaMode) -> JsonSchema:
    return _completed(model.model_json_schema(mode=mode, schema_generator=_Generator))


def _of_entry(kind: EntryKind) -> JsonSchema:
    return _completed(TypeAdapter(DATA[kind]).json_schema(mode="serialization", schema_generator=_Generator))


def _completed(schema: JsonSchema) -> JsonSchema:
    for model in (schema, *schema.get("$defs", {}).values()):
        if model.get("title") in _CONDITIONS:
            model["allOf"] = _CONDITIONS[model["title"]]
        if "description" in model:
            model["description"] = _plain(model["description"])
    return schema


def _plain(docstring: str) -> str:
    """Return a docstring in Markdown, one line a paragraph."""
    paragraphs = re.split(r"\n\s*\n", docstring.replace("``", "`"))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
