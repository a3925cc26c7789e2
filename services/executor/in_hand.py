"""An answer in hand: all that is needed to record what a call brought, now or after a crash. Pure.

Its entries follow from it alone, byte for byte, so that recording it twice is recording it once. What it keeps in clear
the record holds in clear too; the output is what the vault keeps, encrypted with the record's own key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import orjson

from schemas.codes import EntryKind
from schemas.decision import Route
from schemas.entries import AttemptFinished, LateResult, Validated
from schemas.messages import Head
from services.executor.finished import Finished
from services.executor.store import AppendRequest, Aside
from services.runtime import ledger, vault
from services.runtime.chain import Claim
from services.runtime.ids import derive
from services.runtime.keyring import RecordKey
from services.runtime.ledger import ChainHead, ChainWriter

_END_OF_FACTS: Final = b"\n"


@dataclass(frozen=True, slots=True)
class InHand:
    """What one call brought, for the record behind ``head``; ``output`` is ciphertext."""

    record_id: UUID
    head: ChainHead
    claim: UUID
    worker: UUID
    """Who made the call; who records its answer may be another."""
    route: Route
    at: datetime
    finished: AttemptFinished
    validated: Validated | None
    output: bytes | None

    @property
    def entry_id(self) -> UUID:
        """The id of its ``attempt_finished`` entry, under which the vault keeps the output."""
        return _finished_id(self.record_id, self.claim)

    @property
    def learned(self) -> bool:
        """Whether it says what the provider did; otherwise the open claim says as much."""
        return self.finished["outcome"] != "lost"

    def append_request(self) -> AppendRequest:
        """Return the entries behind the head, with the output for the vault."""
        writer = ChainWriter(self.record_id, self.head)
        writer.add(EntryKind.ATTEMPT_FINISHED, self.finished, self.at, entry_id=self.entry_id)
        if self.validated is not None:
            writer.add(EntryKind.VALIDATED, self.validated, self.at, cause=str(self.claim))
        chain = ledger.writes(writer, self.head, self.at)
        return AppendRequest(chain, self._content(self.entry_id, self.output))

    def aside(self, key: RecordKey | None) -> Aside:
        """Return it as the late answer of a worker that has lost its record; without a key its output is gone.

        Raises :class:`ContentDamagedError` where the output is not what was encrypted.
        """
        late_id = derive(self.record_id, EntryKind.LATE_RESULT, str(self.claim))
        output = None
        if self.output is not None and key is not None:
            # Content is bound to the entry that covers it, and that is another one now.
            output = key.encrypt(late_id, vault.OUTPUT, key.decrypt(self.entry_id, vault.OUTPUT, self.output))
        data = self.finished
        late = LateResult(
            claim=data["claim"],
            attempt=data["attempt"],
            outcome=data["outcome"],
            failure_class=data["failure_class"],
            usage=data["usage"],
            cost_usd=data["cost_usd"],
            latency_ms=data["latency_ms"],
            provider_request_id=data["provider_request_id"],
            worker=str(self.worker),
            route=self.route.model_dump(mode="json"),
        )
        return Aside(self.record_id, late_id, EntryKind.LATE_RESULT, {**late}, self._content(late_id, output))

    def pack(self) -> bytes:
        """Return it as bytes: a line of JSON with the facts, then the output's ciphertext."""
        facts = {
            "record_id": self.record_id,
            "head": {"seq": self.head.seq, "hash": self.head.hash},
            "claim": self.claim,
            "worker": self.worker,
            "route": self.route.model_dump(mode="json"),
            "at": self.at,
            "finished": self.finished,
            "validated": self.validated,
            "has_output": self.output is not None,
        }
        return orjson.dumps(facts, default=str) + _END_OF_FACTS + (self.output or b"")

    @classmethod
    def unpack(cls, packed: bytes) -> InHand:
        """Return what was packed; raises ``ValueError`` for anything else."""
        facts, _, output = packed.partition(_END_OF_FACTS)
        try:
            found: dict[str, Any] = orjson.loads(facts)
            return cls(
                record_id=UUID(found["record_id"]),
                head=ChainHead(found["head"]["seq"], found["head"]["hash"]),
                claim=UUID(found["claim"]),
                worker=UUID(found["worker"]),
                route=Route.model_validate(found["route"]),
                at=datetime.fromisoformat(found["at"]),
                finished=found["finished"],
                validated=found["validated"],
                output=output if found["has_output"] else None,
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("not an answer in hand") from error

    def _content(self, entry_id: UUID, output: bytes | None) -> vault.Content | None:
        return None if output is None else vault.Content(self.record_id, entry_id, vault.OUTPUT, output)


def in_hand(
    finished: Finished,
    *,
    record_id: UUID,
    head: Head | ChainHead,
    claim: Claim,
    route: Route,
    key: RecordKey,
    at: datetime,
) -> InHand:
    """Take what a call brought in hand: its output is encrypted, and its facts carry the output's digest."""
    data, output = finished.data, None
    if finished.output is not None:
        entry_id = _finished_id(record_id, claim.entry_id)
        data = cast(
            "AttemptFinished", {**data, "output_digest": key.digest(finished.output), "output_entry": str(entry_id)}
        )
        output = key.encrypt(entry_id, vault.OUTPUT, finished.output)
    return InHand(
        record_id=record_id,
        head=ChainHead(head.seq, head.hash),
        claim=claim.entry_id,
        worker=claim.worker,
        route=route,
        at=at,
        finished=data,
        validated=finished.validated,
        output=output,
    )


def _finished_id(record_id: UUID, claim: UUID) -> UUID:
    return derive(record_id, EntryKind.ATTEMPT_FINISHED, str(claim))
