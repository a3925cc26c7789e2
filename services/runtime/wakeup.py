"""The one message that an entry calls for, whoever sends it: its stage, a redelivery, a duplicate, the sweeper.

Postgres is the truth and Kafka the wake-up: every message can be made again from the stored chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

import orjson

from schemas.codes import EntryKind, ErrorCode, LatencyClass, Status, Verdict
from schemas.decision import Orders
from schemas.topics import CLASSIFIED, OUTCOMES, REQUESTS, RESULTS, ROUTED_BACKGROUND, ROUTED_BATCH
from services.runtime.kafka import Outgoing
from services.runtime.ledger import Entry
from services.runtime.settings import Settings
from services.tenancy import Tenants, own_topic

REPUBLISH: Final = "republish"
_OPTIONS: Final = orjson.OPT_UTC_Z
NOTIFY_ALL: Final = "all"
_ORDERS: Final = tuple(Orders.model_fields)
_ENDINGS: Final[dict[str, tuple[Status, ErrorCode]]] = {
    Verdict.CHARGED: (Status.FAILED, ErrorCode.IN_DOUBT),
    Verdict.CANCELLED: (Status.CANCELLED, ErrorCode.CANCELLED),
    Verdict.EXPIRED: (Status.EXPIRED, ErrorCode.DEADLINE_PASSED),
    Verdict.ERASED: (Status.CANCELLED, ErrorCode.CONTENT_ERASED),
}
EXECUTOR_GOES_ON: Final = frozenset(
    {EntryKind.DECIDED, EntryKind.ATTEMPT_STARTED, EntryKind.ATTEMPT_FINISHED, EntryKind.VALIDATED}
)


class InForce(Protocol):
    """Who knows the tenants that count."""

    @property
    def current(self) -> Tenants:
        """The tenants in force."""


class Wakeups:
    """Makes messages, with the topics of one deployment and its tenants."""

    def __init__(self, settings: Settings, tenants: InForce) -> None:
        """Take the topic names from the settings, and who has topics of their own from the tenants."""
        self._settings = settings
        self._tenants = tenants
        self._classified = settings.topic(CLASSIFIED.name)
        self._outcomes = settings.topic(OUTCOMES.name)
        self._routed = {
            LatencyClass.BACKGROUND: settings.topic(ROUTED_BACKGROUND.name),
            LatencyClass.BATCH: settings.topic(ROUTED_BATCH.name),
        }

    def classified(
        self, received: Mapping[str, Any], received_at: datetime | str, entry: Entry, features: Any
    ) -> Outgoing:
        """Wake the router: ``entry`` is the ``classified`` entry."""
        return self._message(
            self._classified,
            entry,
            tenant=received["tenant"],
            latency_class=received["latency_class"],
            received_at=received_at,
            deadline=received["deadline"],
            features=features,
        )

    def routed(
        self,
        *,
        tenant: str,
        latency_class: str,
        received_at: Any,
        deadline: Any,
        head: Entry,
        decision: Any,
        resume: bool,
    ) -> Outgoing:
        """Wake the executor; ``resume`` where the chain may hold attempts already."""
        return self._message(
            self._routed[LatencyClass(latency_class)],
            head,
            tenant=tenant,
            latency_class=latency_class,
            received_at=received_at,
            deadline=deadline,
            orders={name: decision[name] for name in _ORDERS},
            resume=resume,
        )

    def outcome(
        self,
        record_id: UUID,
        tenant: str,
        seq: int,
        digest: str,
        status: str,
        code: str | None = None,
        field: str | None = None,
    ) -> Outgoing:
        """Wake the recorder: seal the record after this head, or send its result again."""
        return Outgoing(
            self._outcomes,
            str(record_id).encode(),
            orjson.dumps(
                {
                    "schema_version": 1,
                    "record_id": str(record_id),
                    "tenant": tenant,
                    "head": {"seq": seq, "hash": digest},
                    "status": status,
                    "error": None if code is None else {"code": code, "field": field},
                }
            ),
        )

    def results_topic(self, received: Mapping[str, Any]) -> str:
        """Return the topic of all that a backend is told of a record; ``received`` is the data of its first entry.

        A job that came on its tenant's own topic is answered on that tenant's own, whatever this process knows of the
        tenants by now; and so is every other job of a tenant that has topics of its own.
        """
        tenant = received["tenant"]
        came_on_own = self._settings.bare(received["source"]["topic"]) == own_topic(REQUESTS.name, tenant)
        own = came_on_own or self._tenants.current.has_topics(tenant)
        return self._settings.topic(own_topic(RESULTS.name, tenant) if own else RESULTS.name)

    def notice(
        self, received: Mapping[str, Any], record_id: UUID, event: str, at: datetime, reason: str | None = None
    ) -> Outgoing:
        """Tell a backend that asked for it (``notify: all``) what happens to its job before the result."""
        notice = {
            "schema_version": 1,
            "event": event,
            "record_id": str(record_id),
            "tenant": received["tenant"],
            "reason": reason,
            "at": at,
        }
        return Outgoing(self.results_topic(received), str(record_id).encode(), orjson.dumps(notice, option=_OPTIONS))

    def end(
        self, tenant: str, head: Entry, status: Status, code: ErrorCode | None = None, field: str | None = None
    ) -> Outgoing:
        """Wake the recorder to seal after ``head``."""
        return self.outcome(head.record_id, tenant, head.seq, head.hash.hex(), status, code, field)

    def for_chain(self, chain: Sequence[Entry]) -> Outgoing | None:
        """Return the message that a stored chain calls for; None while it is held, and after the seal's late entries.

        A sealed record calls for its result to be published again, wherever late entries stand.
        """
        received = chain[0].content()
        data, tenant = received["data"], received["data"]["tenant"]
        sealed = next((entry for entry in chain if entry.kind == EntryKind.SEALED), None)
        if sealed is not None:
            return self.outcome(sealed.record_id, tenant, sealed.seq, sealed.hash.hex(), REPUBLISH)
        last = chain[-1]
        match last.kind:
            case EntryKind.RECEIVED:
                error = data.get("error") or {"code": ErrorCode.INTERNAL, "field": None}
                return self.end(tenant, last, Status.REJECTED, ErrorCode(error["code"]), error["field"])
            case EntryKind.CLASSIFIED:
                return self.classified(data, received["recorded_at"], last, last.content()["data"]["features"])
            case EntryKind.RELEASED if (verdict := last.content()["data"]["verdict"]) in _ENDINGS:
                return self.end(tenant, last, *_ENDINGS[verdict])
            case EntryKind.HELD:
                return None
        decision = next(e for e in reversed(chain) if e.kind == EntryKind.DECIDED).content()["data"]["decision"]
        if decision.get("route") is None:
            return self.end(tenant, last, Status.REJECTED, ErrorCode(decision["reasons"][0]["code"]))
        return self.routed(
            tenant=tenant,
            latency_class=data["latency_class"],
            received_at=received["recorded_at"],
            deadline=data["deadline"],
            head=last,
            decision=decision,
            resume=last.kind != EntryKind.DECIDED or last.seq > 2,
        )

    @staticmethod
    def _message(topic: str, head: Entry, **fields: Any) -> Outgoing:
        return Outgoing(
            topic,
            str(head.record_id).encode(),
            orjson.dumps(
                {
                    "schema_version": 1,
                    "record_id": head.record_id,
                    "head": {"seq": head.seq, "hash": head.hash.hex()},
                    **fields,
                },
                default=str,
                option=_OPTIONS,
            ),
        )
