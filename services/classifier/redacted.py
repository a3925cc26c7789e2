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
from services.detect import RedactedJob, redact_job
from services.runtime import vault
from services.runtime.keyring import RecordKey
from services.runtime.ledger import Entry
from services.runtime.vault import Content

_UNREADABLE: Final = b'{"redacted":"[TEXT_1]"}'


def redacted_of(job: Job) -> RedactedJob | None:
    """Return a job without what is found in it; None where nothing is. Heavy: called in a worker thread."""
    made = redact_job(job.model_dump(mode="json", by_alias=True, exclude_none=True))
    return made if made.counts or not made.whole else None


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
