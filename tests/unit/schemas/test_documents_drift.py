"""The documents in ``docs/`` say what the models say, and tools can use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from schemas.codes import EntryKind, ErrorCode
from schemas.dead_letter import dead_letter_headers
from schemas.documents import DOCS, differing, documents, run, write
from schemas.json_schemas import json_schemas
from schemas.topics import TOPICS

FILES = documents()
ASYNCAPI = yaml.safe_load(FILES["asyncapi.yaml"])


def test_the_documents_are_those_of_the_models() -> None:
    assert differing(FILES, DOCS) == [], "run `make docs`"


def test_the_documents_come_out_the_same_every_time() -> None:
    assert documents() == FILES
    assert all(text.endswith("\n") and not text.endswith("\n\n") for text in FILES.values())


def test_check_names_what_differs_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = tmp_path / "docs"
    write(FILES, docs)
    (docs / "schemas/job.schema.json").write_text("{}", encoding="utf-8")
    (docs / "schemas/entries/sealed.schema.json").unlink()
    (docs / "schemas/gone.schema.json").write_text("{}", encoding="utf-8")
    assert run(FILES, "schemas.documents", ["--check"], docs) == 1
    assert capsys.readouterr().out.splitlines() == [
        "differs: docs/schemas/entries/sealed.schema.json",
        "differs: docs/schemas/gone.schema.json",
        "differs: docs/schemas/job.schema.json",
    ]
    assert (docs / "schemas/job.schema.json").read_text(encoding="utf-8") == "{}"
    assert run(FILES, "schemas.documents", [], docs) == 0
    assert run(FILES, "schemas.documents", ["--check"], docs) == 0
    assert not (docs / "schemas/gone.schema.json").exists()


@pytest.mark.parametrize(("path", "schema"), json_schemas().items(), ids=str)
def test_every_schema_is_one_and_introduces_itself(path: str, schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["title"]
    assert schema["description"]
    assert path.endswith("/" + schema["$id"]) or path == schema["$id"]
    assert "``" not in str(schema)


def test_every_kind_of_entry_has_a_schema() -> None:
    assert {f"entries/{kind}.schema.json" for kind in EntryKind} <= json_schemas().keys()


# -- AsyncAPI ---------------------------------------------------------------------------------------------------------


def resolve(reference: str) -> Any:
    if not reference.startswith("#/"):
        return FILES[reference.removeprefix("./")]
    found: Any = ASYNCAPI
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(document: Any) -> list[str]:
    if isinstance(document, dict):
        return [r for name, value in document.items() for r in ([value] if name == "$ref" else references(value))]
    return [r for child in document for r in references(child)] if isinstance(document, list) else []


def test_every_reference_leads_somewhere() -> None:
    found = references(ASYNCAPI)
    assert found
    assert all(resolve(reference) for reference in found)


def test_the_document_is_built_like_asyncapi_3() -> None:
    assert ASYNCAPI.keys() == {"asyncapi", "info", "defaultContentType", "channels", "operations", "components"}
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert ASYNCAPI["info"].keys() >= {"title", "version"}
    for operation in ASYNCAPI["operations"].values():
        assert operation["action"] in ("send", "receive")
        channel = operation["channel"]["$ref"]
        # An operation's messages have to be references to its own channel's, not to the components.
        assert {m["$ref"] for m in operation["messages"]} == {
            f"{channel}/messages/{name}" for name in resolve(channel)["messages"]
        }


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_topic_is_described(topic: Any) -> None:
    channel = ASYNCAPI["channels"][topic.name]
    assert channel["address"] == f"waybill.{topic.name}"
    assert channel["messages"]
    kafka = channel["bindings"]["kafka"]
    assert kafka["partitions"] == topic.partitions
    assert kafka["topicConfiguration"]["retention.ms"] == topic.retention_ms
    assert kafka["topicConfiguration"]["max.message.bytes"] == topic.max_message_bytes


def test_clients_see_their_own_sides() -> None:
    sides = {(name.rsplit(".", 1)[-1], o["action"]) for name, o in ASYNCAPI["operations"].items()}
    assert ("requests", "receive") in sides
    assert ("requests", "send") not in sides
    assert ("results", "send") in sides
    assert ("results", "receive") not in sides


def test_a_dead_letters_headers_are_as_described() -> None:
    ours = dead_letter_headers(
        [("trace", b"1")],
        topic="waybill.requests",
        partition=3,
        offset=5,
        timestamp_ms=-1,
        code=ErrorCode.INVALID_MESSAGE,
        reason="the value is not a JSON object",
    )
    schema = ASYNCAPI["components"]["messages"]["dead-letter"]["headers"]
    headers = {name: value.decode() for name, value in ours}
    Draft202012Validator(schema).validate(headers)
    assert headers.keys() - {"trace"} == set(schema["required"]) == schema["properties"].keys()
