"""The AsyncAPI 3.0 document of all topics, from Waybill's side: what it receives, and what it sends.

FastStream's own generator would describe consumers only as far as they are typed, and theirs take raw records; it knows
neither keys, partitions and retention nor the headers of a dead letter. All of that stands in our own tables.
"""

from __future__ import annotations

from typing import Any, Final

from schemas.codes import ErrorCode
from schemas.dead_letter import HEADER_PREFIX, MAX_REASON
from schemas.job import SCHEMA_VERSION
from schemas.json_schemas import READ, WRITTEN
from schemas.signature import KEY_ID_HEADER, SIGNATURE_HEADER
from schemas.topics import DEAD_LETTER, DEFAULT_PREFIX, FEEDBACK, PER_TENANT, REQUESTS, Topic
from schemas.traffic import BACKENDS, ON_CALL, TRAFFIC, Traffic

ASYNCAPI: Final = "3.0.0"
_KAFKA_BINDING: Final = "0.5.0"
_SCHEMA_FORMAT: Final = "application/schema+json;version=draft-2020-12"
_DEAD_LETTER: Final = "dead-letter"
_OUTSIDE: Final = frozenset({BACKENDS, ON_CALL})
_TITLES: Final = {name: model.__name__ for name, model in (READ | WRITTEN).items()}
_SIGNED: Final = frozenset(
    name for traffic in TRAFFIC if traffic.topic in (REQUESTS, FEEDBACK) for name in traffic.schemas
)
Document = dict[str, Any]


def asyncapi() -> Document:
    """Return the document; payload schemas are references to the files beside it."""
    named = sorted({name for traffic in TRAFFIC for name in traffic.schemas})
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Waybill",
            "version": str(SCHEMA_VERSION),
            "description": "Backends send jobs to the requests topic and read how they ended from the results topic. "
            "The other topics are between Waybill's services. Addresses carry the default prefix, "
            f"`{DEFAULT_PREFIX}`; `WAYBILL_TOPIC_PREFIX` sets another.",
        },
        "defaultContentType": "application/json",
        "channels": {traffic.topic.name: _channel(traffic) for traffic in TRAFFIC},
        "operations": dict(operation for traffic in TRAFFIC for operation in _operations(traffic)),
        "components": {"messages": {name: _message(name) for name in named} | {_DEAD_LETTER: _dead_letter()}},
    }


def _channel(traffic: Traffic) -> Document:
    topic = traffic.topic
    return {
        "address": DEFAULT_PREFIX + topic.name,
        "title": topic.name,
        "description": _about(traffic),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages(traffic)},
        "bindings": {
            "kafka": {
                "topic": DEFAULT_PREFIX + topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": _configuration(topic),
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }


def _about(traffic: Traffic) -> str:
    topic = traffic.topic
    content = "Holds content for its retention." if topic.holds_content else "Holds no content."
    about = topic.about[0].upper() + topic.about[1:]
    text = f"{about}. Written by {_listed(traffic.writers)}, read by {_listed(traffic.readers)}. {content}"
    if topic in PER_TENANT:
        text += f" A tenant with topics of its own has `{DEFAULT_PREFIX}{topic.name}.<tenant>` in its place."
    return text


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _configuration(topic: Topic) -> Document:
    return {
        "cleanup.policy": ["delete"],
        "retention.ms": topic.retention_ms,
        "max.message.bytes": topic.max_message_bytes,
    }


def _messages(traffic: Traffic) -> tuple[str, ...]:
    return traffic.schemas or (_DEAD_LETTER,)


def _operations(traffic: Traffic) -> list[tuple[str, Document]]:
    channel = traffic.topic.name
    sides = [("send", name) for name in traffic.writers] + [("receive", name) for name in traffic.readers]
    return [
        (
            f"{service}.{action}.{channel}",
            {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel}"},
                "tags": [{"name": service}],
                "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in _messages(traffic)],
            },
        )
        for action, service in sides
        if service not in _OUTSIDE
    ]


def _message(name: str) -> Document:
    signed = {"headers": _signature()} if name in _SIGNED else {}
    return {
        "name": name,
        "title": _TITLES[name],
        "contentType": "application/json",
        **signed,
        "payload": {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": f"./schemas/{name}.schema.json"}},
        "bindings": {"kafka": {"key": _key(name), "bindingVersion": _KAFKA_BINDING}},
    }


def _signature() -> Document:
    return {
        "type": "object",
        "description": "On a shared topic, both say whose the message is; on a tenant's own topic neither is needed.",
        "properties": {
            KEY_ID_HEADER: {"type": "string", "description": "the id of one of the tenant's signing keys"},
            SIGNATURE_HEADER: {
                "type": "string",
                "contentEncoding": "base64",
                "description": "HMAC-SHA256 of the value's bytes under that key's secret",
            },
        },
        "dependentRequired": {KEY_ID_HEADER: [SIGNATURE_HEADER], SIGNATURE_HEADER: [KEY_ID_HEADER]},
    }


def _key(name: str) -> Document:
    traffic = next(traffic for traffic in TRAFFIC if name in traffic.schemas)
    if traffic.topic.key == "record_id":
        return {"type": "string", "format": "uuid", "description": "the record's id"}
    return {"type": "string", "description": traffic.topic.key}


def _dead_letter() -> Document:
    def header(about: str, **more: Any) -> Document:
        return {"type": "string", "description": about, **more}

    headers = {
        "topic": header("the topic that the message stood in"),
        "partition": header("its partition there", pattern="^[0-9]+$"),
        "offset": header("its offset there", pattern="^[0-9]+$"),
        "timestamp": header("its timestamp there, in milliseconds since the epoch", pattern="^-?[0-9]+$"),
        "code": header("why it is here", enum=sorted(ErrorCode)),
        "reason": header("why it is here, in words from a fixed list", maxLength=MAX_REASON),
    }
    return {
        "name": _DEAD_LETTER,
        "title": "Dead letter",
        "description": "The original key and bytes, unchanged, whatever they are. The original headers stay beside "
        f"those given here; one that was called `{HEADER_PREFIX}…` is called `original-{HEADER_PREFIX}…`.",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "required": [HEADER_PREFIX + name for name in headers],
            "properties": {HEADER_PREFIX + name: schema for name, schema in headers.items()},
        },
        "payload": {"description": "the original bytes"},
        "bindings": {"kafka": {"key": {"description": DEAD_LETTER.key}, "bindingVersion": _KAFKA_BINDING}},
    }
