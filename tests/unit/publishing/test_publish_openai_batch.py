"""The key of a batch line, and what makes a line no job."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from publish_samples import TENANT, batch_line, job_of, refusal_of, translated

from schemas.codes import LatencyClass
from schemas.job import Job
from services.cli.publishing.items import Item, Refusal
from services.cli.publishing.lines import Line
from services.cli.publishing.openai_batch import Defaults, translate

DEFAULTS = Defaults(tenant=TENANT)


def key_of(raw: str) -> str | None:
    item = translate(Line(1, raw.encode()), DEFAULTS)
    assert isinstance(item, Item)
    return item.key


@given(st.text(min_size=1, max_size=40).filter(str.isprintable), st.floats(0, 2), st.integers(1, 500))
def test_the_same_line_has_the_same_key_however_it_is_written(text: str, temperature: float, cap: int) -> None:
    line = batch_line(messages=[{"role": "user", "content": text}], temperature=temperature, max_tokens=cap)
    backwards = dict(reversed([(name, value) for name, value in line.items()]))
    written = [json.dumps(line), json.dumps(line, indent=None, separators=(" , ", " : ")), json.dumps(backwards)]
    assert len({key_of(raw) for raw in written}) == 1


def test_another_line_may_use_the_id_again() -> None:
    keys = {job_of(line)["idempotency_key"] for line in (batch_line(), batch_line(seed=1), batch_line(seed=2))}
    assert len(keys) == 3
    assert all(key.startswith("req-1:") for key in keys)


def test_the_job_is_strict_and_says_what_the_options_say() -> None:
    deadline = datetime(2030, 1, 1, tzinfo=UTC)
    defaults = Defaults(tenant="acme", latency_class=LatencyClass.BACKGROUND, deadline=deadline, alias="prod-stable")
    job = Job.model_validate(job_of(batch_line(), defaults))
    assert (job.tenant, job.latency_class, job.deadline, job.alias) == ("acme", "background", deadline, "prod-stable")
    assert job.metadata == {"custom_id": "req-1"}


def test_the_item_can_be_found_again() -> None:
    item = translated(batch_line("req-7"), number=3)
    assert isinstance(item, Item)
    assert (item.line, item.tenant, item.custom_id) == (3, TENANT, "req-7")
    assert item.kafka_key == orjson.loads(item.value)["idempotency_key"].encode()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "/v1/responses"}, "url"),
        ({"url": None}, "url"),
        ({"method": "GET"}, "method"),
        ({"body": None}, "body"),
        ({"body": []}, "body"),
        ({"custom_id": ""}, "custom_id"),
        ({"custom_id": 7}, "custom_id"),
        ({"custom_id": "x" * 496}, "custom_id"),
        ({"priority": 1}, "priority"),
    ],
)
def test_a_line_that_is_no_request_is_refused_by_field(change: dict[str, Any], field: str) -> None:
    assert refusal_of(batch_line() | change).field == field


@pytest.mark.parametrize("raw", [b"{", b"[]", b"7", b"\xff", b'{"custom_id": NaN}'])
def test_what_is_no_json_object_is_refused_by_line(raw: bytes) -> None:
    refusal = translate(Line(9, raw), DEFAULTS)
    assert isinstance(refusal, Refusal)
    assert (refusal.line, refusal.code) == (9, "invalid_json")


def test_nesting_beyond_what_can_be_written_is_refused() -> None:
    nested = "[" * 500 + "]" * 500
    raw = json.dumps(batch_line(tools="X")).replace('"X"', nested)
    refusal = translate(Line(1, raw.encode()), DEFAULTS)
    assert isinstance(refusal, Refusal)
    assert refusal.custom_id == "req-1"


def test_the_longest_id_still_makes_a_key() -> None:
    Job.model_validate(job_of(batch_line("x" * 495)))


def test_a_refusal_names_no_value() -> None:
    refusal = refusal_of(batch_line(stop="secret-words", prediction={"content": "secret-words"}))
    assert "secret-words" not in str(refusal)
