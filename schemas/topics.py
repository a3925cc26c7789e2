"""Every topic: its key, partitions, retention and largest message, as ``waybill topics apply`` creates it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
HOUR_MS: Final = 3_600_000
DEFAULT_PREFIX: Final = "waybill."


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. ``name`` is without the prefix; retention in milliseconds, sizes in bytes."""

    name: str
    key: str
    partitions: int
    retention_ms: int
    max_message_bytes: int
    holds_content: bool
    about: str
    extra: dict[str, str] = field(default_factory=dict)

    def configs(self) -> dict[str, str]:
        """Return the broker's settings of this topic."""
        return {
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            "cleanup.policy": "delete",
            # A segment goes as a whole, after its last message: what is in one for a week outlives its day by a week.
            **({"segment.ms": str(HOUR_MS)} if self.holds_content else {}),
            **self.extra,
        }


# The broker then checks the unpacked size: 900 MB of zeros fit in 1 MB compressed.
_UNCOMPRESSED: Final = {"compression.type": "uncompressed"}

REQUESTS: Final = Topic(
    "requests",
    "the client's; its idempotency key is a good one",
    12,
    24 * HOUR_MS,
    24 * MIB,
    True,
    "jobs, cancels and replays, from any Kafka client",
    _UNCOMPRESSED,
)
CLASSIFIED: Final = Topic("classified", "record_id", 12, 72 * HOUR_MS, MIB, False, "classifier to router: features")
ROUTED_BACKGROUND: Final = Topic(
    "routed.background", "record_id", 12, 72 * HOUR_MS, MIB, False, "router to executor: decisions of background jobs"
)
ROUTED_BATCH: Final = Topic(
    "routed.batch", "record_id", 12, 72 * HOUR_MS, MIB, False, "router to executor: decisions of batch jobs"
)
OUTCOMES: Final = Topic(
    "outcomes",
    "record_id",
    12,
    72 * HOUR_MS,
    MIB,
    False,
    "any stage to recorder: seal this record, or send its result again",
)
RESULTS: Final = Topic("results", "record_id", 12, 24 * HOUR_MS, 24 * MIB, True, "how each job ended")
FEEDBACK: Final = Topic(
    "feedback", "record_id", 3, 24 * HOUR_MS, 64 * KIB, True, "people's verdicts on answers", _UNCOMPRESSED
)
DEAD_LETTER: Final = Topic(
    "dead-letter",
    "the original key",
    3,
    168 * HOUR_MS,
    24 * MIB,
    True,
    "messages of which no record can be made: original bytes and headers",
)

PER_TENANT: Final = (REQUESTS, RESULTS, FEEDBACK)
"""What a tenant may have for itself, each named after the shared one: ``requests.<tenant>``."""

TOPICS: Final = (REQUESTS, CLASSIFIED, ROUTED_BACKGROUND, ROUTED_BATCH, OUTCOMES, RESULTS, FEEDBACK, DEAD_LETTER)
