"""Whatever an earlier release wrote can be loaded with the models of today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, TypeAdapter

import schemas
from schemas import entries
from schemas.codes import EntryKind, ErrorCode
from schemas.decision import Decision, NoRoute, Orders
from schemas.features import Features
from schemas.json_schemas import READ, WRITTEN

HISTORY = Path(schemas.__file__).parent / "history"
SAMPLES = sorted(HISTORY.glob("v*/*.json"))
VERSIONS = sorted(folder for folder in HISTORY.iterdir() if folder.is_dir())
MODELS: dict[str, type[BaseModel]] = {
    name: model for name, model in (READ | WRITTEN).items() if name not in ("features", "decision")
}
"""Messages; features and decisions are parts of them."""


def subject(sample: Path) -> str:
    return sample.stem.partition("-")[0]


def of_kind(kind: str) -> list[Any]:
    return [
        pytest.param(sample, id=f"{sample.parent.name}/{sample.stem}")
        for sample in SAMPLES
        if subject(sample) == f"entry_{kind}"
    ]


@pytest.mark.parametrize(
    "sample", [p for p in SAMPLES if subject(p) in MODELS], ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_every_message_loads(sample: Path) -> None:
    content = sample.read_bytes()
    model = MODELS[subject(sample)]
    loaded = model.model_validate_json(content, strict=subject(sample) in READ)
    assert loaded.model_dump()["schema_version"] == int(sample.parent.name.removeprefix("v"))


@pytest.mark.parametrize("sample", [p for k in EntryKind for p in of_kind(k)])
def test_every_entry_loads(sample: Path) -> None:
    body = json.loads(sample.read_bytes())
    assert f"entry_{body['kind']}" == subject(sample)
    assert body["schema_version"] == int(sample.parent.name.removeprefix("v"))
    assert UUID(body["record_id"]).version == 7
    assert UUID(body["entry_id"])
    assert (body["prev_hash"] is None) == (body["seq"] == 0)
    TypeAdapter(entries.DATA[EntryKind(body["kind"])]).validate_json(json.dumps(body["data"]), strict=True)


@pytest.mark.parametrize("sample", of_kind("classified"))
def test_the_features_of_a_classified_entry_load(sample: Path) -> None:
    Features.model_validate(json.loads(sample.read_bytes())["data"]["features"])


@pytest.mark.parametrize("sample", of_kind("decided"))
def test_the_decision_of_a_decided_entry_loads(sample: Path) -> None:
    decision = json.loads(sample.read_bytes())["data"]["decision"]
    if decision["route"] is None:
        assert ErrorCode(NoRoute.model_validate(decision).reasons[0].code)
    else:
        Orders.model_validate(decision)
        Decision.model_validate(decision)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda folder: folder.name)
def test_there_is_a_sample_of_everything_and_of_nothing_else(version: Path) -> None:
    wanted = {*MODELS, *(f"entry_{kind}" for kind in EntryKind)}
    if version.name == f"v{entries.ENTRY_SCHEMA_VERSION}":
        assert {subject(sample) for sample in version.iterdir()} == wanted
    else:
        assert {subject(sample) for sample in version.iterdir()} <= wanted


def test_every_kind_of_entry_has_a_shape() -> None:
    assert set(entries.DATA) == set(EntryKind)
