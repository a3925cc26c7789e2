"""Writes ``docs/events.md``: every topic, every metric, and everything that services count.

``python -m services.cli.docs_events`` writes it anew, ``--check`` exits 1 if it differs. What an event means stands in
:data:`EVENTS` and :data:`GAUGES`; a test holds both to the code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from schemas.documents import run
from schemas.topics import DEFAULT_PREFIX, HOUR_MS, KIB, MIB
from schemas.traffic import TRAFFIC, Traffic
from services.runtime.telemetry import Telemetry

EVENTS: Final[dict[tuple[str, str], str]] = {
    ("classifier", "refused"): "A message was bound to no tenant, and became a dead letter that says why.",
    ("classifier", "content_damaged"): "The content of a record to replay does not match its digest; the replay is "
    "rejected. On-call has to look.",
    (
        "classifier",
        "detector_failed",
    ): "A detector raised, or a tenant's rules could not be used: the job's data got the "
    "strictest class. On-call has to look.",
    ("executor", "answer_put_aside"): "A worker had lost its record when its answer came; the answer and its cost are "
    "kept aside, and the recorder appends them.",
    ("executor", "answer_recovered"): "An answer that a process which died had on disk was recorded.",
    ("executor", "redaction_failed"): "A job could not be redacted as its policy asks; it was not sent.",
    ("executor", "claim_in_doubt"): "A claim was met whose worker is gone: its call may have been charged.",
    ("executor", "held"): "A record was held.",
    (
        "executor",
        "spool_damaged",
    ): "A spool file holds answers that cannot be read, that the database refuses, or whose "
    "record it does not have; the file is kept as `<worker>.damaged`. On-call has to look.",
    (
        "executor",
        "spool_failed",
    ): "Answers could not be kept on disk while the database was away, or a spool file could "
    "not be opened; answers wait in memory alone. On-call has to look.",
    ("recorder", "content_damaged"): "Content of the vault does not match its digest in the record; the result goes "
    "without it. On-call has to look.",
    ("recorder", "erased"): "Key and content of a record were deleted.",
    (
        "recorder",
        "erasure_log_failed",
    ): "The erasure log could not be written, and nothing is erased meanwhile. On-call has to look.",
    (
        "recorder",
        "feedback_dropped",
    ): "A verdict came for a record that has 32 already; it was dropped.",
    (
        "recorder",
        "feedback_refused",
    ): "Feedback became a dead letter: it is not bound to the tenant that it names, or names no record of that tenant.",
    ("recorder", "feedback_taken"): "A verdict was put aside for its record; what was said before adds nothing.",
    (
        "recorder",
        "late_refused",
    ): "What lies aside for a record cannot be appended; it stays there. On-call has to look.",
    ("recorder", "seal_refused"): "The database refuses to seal a record; it stays open. On-call has to look.",
    ("recorder", "sealed"): "A record was sealed.",
    ("recorder", "stale_outcome"): "An outcome came whose record has moved on, or does not exist; nothing was done.",
    ("recorder", "swept"): "An open record was silent for too long, and its next stage was woken.",
    ("router", "released"): "A held record was released, or ended.",
}
"""What is counted in ``waybill_<service>_events_total``, by service and event."""

GAUGES: Final[dict[tuple[str, str], str]] = {
    ("executor", "answers_spooled"): "Answers of this process that are on disk because the database has not taken them "
    "yet.",
    ("executor", "in_flight"): "Records in work in this process.",
    ("recorder", "checkpoint_entries"): "How many entries the newest published checkpoint covers.",
    ("recorder", "default_partition_used"): "1 while rows lie in a default partition, because the month's own was "
    "missing. On-call has to look.",
    ("recorder", "erasure_waiting_s"): "Seconds for which the oldest erasure that was asked for has waited; it is done "
    "within a few, unless a transaction stays open.",
    ("recorder", "notary_refuses"): "1 while the notary does not sign, because the database does not extend what was "
    "signed. On-call has to look.",
    (
        "recorder",
        "unproven_s",
    ): "Seconds since the oldest entry was recorded that no published checkpoint covers; above "
    "180 the recorder is not ready.",
}
"""What ``waybill_<service>_state`` says, by service and name."""

_SERVICE_NAME: Final = "service"
_SERVICE: Final = f"<{_SERVICE_NAME}>"
_INTRODUCTION: Final = f"""\
# Topics, metrics and events

Made by `python -m services.cli.docs_events`; edit the tables in `schemas/` and `services/` instead.

## Topics

Names carry the prefix `{DEFAULT_PREFIX}`, or what `WAYBILL_TOPIC_PREFIX` says; `WAYBILL_TOPICS` changes partitions and
retention. `waybill topics apply` creates them. [asyncapi.yaml](asyncapi.yaml) says the same to tools.
"""
_AFTER_TOPICS: Final = """\
- Internal messages are keyed by the record's id and hold ids, features and decisions, never what a job says.
- A tenant with topics of its own has `requests.<tenant>`, `results.<tenant>` and `feedback.<tenant>`, each as the
  shared one is; `waybill tenant apply` creates them too. On the shared ones a message is signed.
- Topics with `compression.type=uncompressed` have the unpacked size checked by the broker: a compressed bomb is refused
  when it is published. `requests` is read with `isolation_level=read_committed`.
- A dead letter keeps the original key, bytes and headers. Headers `waybill-topic`, `-partition`, `-offset`,
  `-timestamp`, `-code` and `-reason` say where from and why.
"""
_METRICS: Final = f"""\
## Metrics

Each service serves its own at `/metrics` of `WAYBILL_HTTP_ADDR`, in Prometheus' format; `{_SERVICE}` is one of
`classifier`, `router`, `executor` and `recorder`. No metric carries a tenant, a key or anything that a job says. Beside
these there are the `process_*` metrics that Prometheus clients have.
"""
_EVENTS: Final = """\
## Events

Counted in `waybill_<service>_events_total`, by the label `event`.
"""
_STATES: Final = """\
## States

Shown in `waybill_<service>_state`, by the label `name`.
"""


def render() -> str:
    """Return the text of ``docs/events.md``."""
    parts = [
        _INTRODUCTION,
        _table(
            ("topic", "what", "key", "partitions", "retention", "largest message", "written by", "read by", "schema"),
            map(_topic, TRAFFIC),
        ),
        _AFTER_TOPICS,
        _METRICS,
        _table(("metric", "kind", "labels", "what"), _metrics()),
        _EVENTS,
        _table(("service", "event", "what happened"), _sorted(EVENTS)),
        _STATES,
        _table(("service", "name", "what"), _sorted(GAUGES)),
    ]
    return "\n".join(parts)


def _topic(traffic: Traffic) -> Sequence[str]:
    topic = traffic.topic
    extra = "".join(f"; `{name}={value}`" for name, value in topic.extra.items())
    return (
        f"`{topic.name}`",
        topic.about + extra,
        topic.key,
        str(topic.partitions),
        _duration(topic.retention_ms),
        _size(topic.max_message_bytes),
        ", ".join(traffic.writers),
        ", ".join(traffic.readers),
        ", ".join(f"[{name}](schemas/{name}.schema.json)" for name in traffic.schemas) or "any bytes",
    )


def _size(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


def _duration(milliseconds: int) -> str:
    hours = milliseconds // HOUR_MS
    return f"{hours} h" if hours <= 24 else f"{hours // 24} d"


def _metrics() -> Iterable[Sequence[str]]:
    telemetry = Telemetry(_SERVICE_NAME)
    # A metric shows its labels only once it has a value.
    for labelled in (telemetry.failures, telemetry.events, telemetry.gauges):
        labelled.labels("any")
    for family in telemetry.registry.collect():
        if family.name.startswith("process_"):
            continue
        name = family.name.replace(_SERVICE_NAME, _SERVICE) + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        yield f"`{name}`", family.type, ", ".join(f"`{label}`" for label in sorted(labels)), family.documentation


def _sorted(table: dict[tuple[str, str], str]) -> Iterable[Sequence[str]]:
    return ((service, f"`{name}`", about) for (service, name), about in sorted(table.items()))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(run({"events.md": render()}, "services.cli.docs_events"))
