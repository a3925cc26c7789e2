"""The redacted text of a job: made where there is something to leave out, and covered by a digest."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import pytest
from support.jobs import job

from schemas.job import Job
from services.classifier.classify import classify
from services.classifier.redacted import content_of, redacted_of, with_redaction
from services.detect import RedactedJob
from services.runtime import vault
from services.runtime.ids import now
from services.runtime.keyring import RecordKey
from services.runtime.ledger import ChainWriter

RECORD = UUID("01936b1e-0000-7000-8000-000000000001")
KEY = RecordKey(RECORD, bytes(48))
EMAIL = "jo@example.com"


def redacted(**fields: Any) -> RedactedJob | None:
    """Return what is made of a job at intake."""
    valid = Job.model_validate(job(**fields))
    return redacted_of(valid, classify(valid))


def document(**fields: Any) -> dict[str, Any]:
    return {"id": "d1", "text": "The sea.", **fields}


@pytest.mark.parametrize("documents", [[], [document()], [document(title="Of the sea")]])
def test_where_nothing_is_found_there_is_none(documents: list[dict[str, Any]]) -> None:
    assert redacted(documents=documents) is None
    assert with_redaction({"rules": "r"}, None, KEY) == {"rules": "r"}


@pytest.mark.parametrize("fields", [{"text": f"Of {EMAIL}"}, {"title": f"Of {EMAIL}"}])
def test_what_is_found_has_placeholders_also_in_titles(fields: dict[str, str]) -> None:
    made = redacted(documents=[document(**fields)], metadata={"of": EMAIL}, subject=EMAIL)
    assert made is not None
    assert EMAIL not in orjson.dumps(made.job).decode()
    assert (made.counts, made.whole) == ({"email": 1}, True)
    assert {"metadata", "subject", "idempotency_key"} & made.job.keys() == set()


@pytest.mark.parametrize(
    "made", [RedactedJob({"input": ["[EMAIL_1]"]}, {}, {"email": 1}, True), RedactedJob({}, {}, {}, False)]
)
def test_the_entry_covers_what_the_vault_keeps_under_it(made: RedactedJob) -> None:
    data = with_redaction({"rules": "r"}, made, KEY)
    entry = ChainWriter(RECORD).add("classified", data, now())
    stored = content_of(made, entry, KEY)
    assert stored[:3] == (RECORD, entry.entry_id, vault.REDACTED)
    text = KEY.decrypt(entry.entry_id, vault.REDACTED, stored.ciphertext)
    assert data["redaction"] == {"counts": made.counts, "whole": made.whole, "digest": KEY.digest(text)}
    assert orjson.loads(text) == (made.job or {"redacted": "[TEXT_1]"})
