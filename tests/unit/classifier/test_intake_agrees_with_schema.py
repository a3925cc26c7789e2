"""The job schema that is published says what intake does: clients can check their jobs before they send them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from job_mutations import JOBS, PLAIN, mutated_jobs, sample
from jsonschema import Draft202012Validator

from schemas.documents import DOCS
from schemas.job import Job
from services.classifier.intake import Rejected, read
from services.runtime.microbatch import UnreadableError

VALIDATOR = Draft202012Validator(json.loads((DOCS / "schemas" / "job.schema.json").read_text(encoding="utf-8")))
# The schema leaves it to intake whether a string is a time or an amount.
NOT_SAID = frozenset({"deadline", "max_cost_usd"})


def is_accepted(job: Any) -> bool:
    try:
        return not isinstance(read(json.dumps(job).encode()), Rejected)
    except UnreadableError:
        return False


@pytest.mark.parametrize("name", ["job", "job-embed", "job-rerank"])
def test_the_samples_are_valid(name: str) -> None:
    VALIDATOR.validate(sample(name))
    assert is_accepted(sample(name))


BAD: dict[str, dict[str, Any]] = {
    "no schema_version": {"schema_version": None},
    "a later schema_version": {"schema_version": 2},
    "interactive": {"latency_class": "interactive"},
    "an unknown field": {"extra": 1},
    "a tenant in capitals": {"tenant": "Acme"},
    "no messages": {"messages": []},
    "an empty message": {"messages": [{"role": "user"}]},
    "an image": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
    "a tool message of no call": {"messages": [{"role": "tool", "content": "x"}]},
    "chat with an input": {"input": ["x"]},
    "embed with messages": {"operation": "embed", "input": ["x"]},
    "rerank without a query": {"operation": "rerank", "messages": None},
    "a number as a string": {"caps": {"max_output_tokens": "5"}},
    "a negative cap": {"caps": {"max_output_tokens": -1}},
    "a format without its schema": {"response_format": {"type": "json_schema"}},
    "a schema without its format": {"response_format": {"type": "text", "json_schema": {"name": "a", "schema": {}}}},
    "17 labels": {"labels": {f"k{n}": "v" for n in range(17)}},
    "a label too long": {"labels": {"k" * 65: "v"}},
    "an empty key": {"idempotency_key": ""},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_what_is_wrong_is_wrong_for_both(change: dict[str, Any]) -> None:
    job = {**JOBS[0], **change}
    assert not VALIDATOR.is_valid(job)
    assert not is_accepted(job)


@settings(max_examples=300, deadline=None)
@given(mutated_jobs(PLAIN))
def test_what_intake_accepts_the_schema_accepts(job: Any) -> None:
    if is_accepted(job):
        VALIDATOR.validate(job)


@settings(max_examples=300, deadline=None)
@given(mutated_jobs(PLAIN, spared=NOT_SAID))
def test_both_draw_the_same_line(job: Any) -> None:
    assert is_accepted(job) == VALIDATOR.is_valid(job)


def test_every_field_of_a_job_is_in_a_sample() -> None:
    assert set().union(*JOBS) == set(Job.model_fields)
