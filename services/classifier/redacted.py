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
from services.detect import RedactedJob, redact_job
from services.runtime import vault
from services.runtime.keyring import RecordKey
from services.runtime.ledger import Entry
from services.runtime.vault import Content

_UNREADABLE: Final = b'{"redacted":"[TEXT_1]"}'


def redacted_of(job: Job, known: Classification) -> RedactedJob | None:
    """Return a job without what is found in it; None where nothing is. Heavy: called in a worker thread."""
    clean = not known.entry["findings"] and not known.entry["truncated"]
    if clean and not _has_more_than_was_classified(job):
        return None
    made = redact_job(job.model_dump(mode="json", by_alias=True, exclude_none=True))
    return made if made.counts or not made.whole else None


def _has_more_than_was_classified(job: Job) -> bool:
    return (
        job.tools is not None
        or job.response_format is not None
        or any(message.tool_calls for message in job.messages or ())
        or any(document.title for document in job.documents or ())
    )


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
