"""Who writes and who reads each topic, and what stands in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas import topics
from schemas.topics import Topic

BACKENDS: Final = "backends"
ON_CALL: Final = "on-call"


@dataclass(frozen=True, slots=True)
class Traffic:
    """One topic's writers, readers and schemas. Services stand by name; who is none of them is outside Waybill."""

    topic: Topic
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    schemas: tuple[str, ...]
    """Names of schemas in ``docs/schemas``; none where the message may be anything."""


TRAFFIC: Final = (
    Traffic(topics.REQUESTS, (BACKENDS, ON_CALL), ("classifier",), ("job", "cancel", "replay")),
    Traffic(topics.CLASSIFIED, ("classifier", "recorder"), ("router",), ("classified",)),
    Traffic(topics.ROUTED_BACKGROUND, ("router", "recorder"), ("executor",), ("routed",)),
    Traffic(topics.ROUTED_BATCH, ("router", "recorder"), ("executor",), ("routed",)),
    Traffic(topics.OUTCOMES, ("classifier", "router", "executor", "recorder"), ("recorder",), ("outcome",)),
    Traffic(topics.RESULTS, ("classifier", "router", "executor", "recorder"), (BACKENDS,), ("result", "notice")),
    Traffic(topics.FEEDBACK, (BACKENDS,), ("recorder",), ("feedback",)),
    Traffic(topics.DEAD_LETTER, ("classifier", "router", "executor", "recorder"), (ON_CALL,), ()),
)
