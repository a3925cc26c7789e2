"""The redacted text of a job: what a model reads of it, with placeholders for all that was found in it.

It is made once, at intake, and kept in the vault under the ``classified`` entry, whose digest covers it. Where there is
nothing to leave out none is made: the job's own text is then as good.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from schemas.entries import RedactionData
from schemas.job import Job
from services.classifier.classify import Classification
from services.detect import OwnRules, RedactedJob, find, redact_job
from services.runtime import vault
from services.runtime.keyring import RecordKey
from services.runtime.ledger import Entry
from services.runtime.vault import Content

_UNREADABLE: Final = b'{"redacted":"[TEXT_1]"}'


def redacted_of(job: Job, known: Classification) -> RedactedJob | None:
    """Return a job without what is found in it; None where nothing is. Heavy: called in a worker thread."""
    if not known.findings and not known.entry["truncated"] and not _anything_in_schemas(job, known.own):
        return None
    made = redact_job(job.model_dump(mode="json", by_alias=True, exclude_none=True), own=known.own)
    return made if made.counts or not made.whole else None


def _anything_in_schemas(job: Job, own: OwnRules | None) -> bool:
    """Whether schemas say anything: they are no texts, so that classification did not look at them."""
    wanted = job.response_format.json_schema if job.response_format is not None else None
    schemas: list[Any] = [tool.function.parameters for tool in job.tools or () if tool.function.parameters]
    schemas += [wanted.json_schema] if wanted is not None else []
    if not schemas:
        return False
    found, truncated = find(orjson.dumps(schemas).decode(), own)
    return bool(found) or truncated


def with_redaction(entry: Mapping[str, Any], made: RedactedJob | None, key: RecordKey) -> dict[str, Any]:
    """Return the data of a ``classified`` entry with what it says of the redacted text."""
    if made is None:
        return dict(entry)
    summary = RedactionData(counts=made.counts, whole=made.whole, digest=key.digest(_text(made)))
    return {**entry, "redaction": summary}


def content_of(made: RedactedJob, classified: Entry, key: RecordKey) -> Content:
    """Return the redacted text for the vault."""
    ciphertext = key.encrypt(classified.entry_id, vault.REDACTED, _text(made))
    return Content(classified.record_id, classified.entry_id, vault.REDACTED, ciphertext)


def _text(made: RedactedJob) -> bytes:
    # Nothing of a job whose texts could not even be told apart.
    return orjson.dumps(made.job) if made.job else _UNREADABLE
