"""The recorder's stage: one slice of outcomes is sealed in one transaction, then published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from schemas.codes import EntryKind, ErrorCode, Status
from schemas.messages import Fault, Outcome
from schemas.topics import MIB
from services.recorder import facts
from services.recorder.contents import ContentReader
from services.recorder.facts import Parsed
from services.recorder.result import build_result
from services.recorder.seal import sealed_data
from services.runtime import erasure, ledger, queries
from services.runtime.faultpoints import FaultPoint, reach
from services.runtime.host import Host
from services.runtime.kafka import Outgoing
from services.runtime.ledger import ChainWriter, Entry
from services.runtime.microbatch import UnreadableError
from services.runtime.postgres import Connection
from services.runtime.slices import slices
from services.runtime.wakeup import REPUBLISH

_SQL = queries.load("recorder")
MAX_PUBLISHED_BYTES: Final = 32 * MIB
_BYTES_PER_TOKEN: Final = 8
_ERASED: Final = {"status": Status.CANCELLED, "error": Fault(code=ErrorCode.CONTENT_ERASED)}


class RecorderStage:
    """Seals and publishes micro-batches."""

    def __init__(self, host: Host, clock: Callable[[], datetime]) -> None:
        """Take the host's parts and the clock that entries carry."""
        self._host = host
        self._clock = clock
        self._contents = ContentReader(host.pool, host.keyring, host.telemetry)

    def read(self, record: ConsumerRecord[bytes, bytes]) -> Outcome:
        """Return the record's message; raises :class:`UnreadableError`."""
        try:
            return Outcome.model_validate_json(record.value or b"")
        except ValidationError:
            raise UnreadableError(ErrorCode.INVALID_MESSAGE, "not an outcome of this release") from None

    async def run(self, items: Sequence[Outcome]) -> Sequence[Outgoing]:
        """Seal one slice, publish its results, and close the records whose acks are in."""
        told: dict[UUID, list[Outcome]] = {}
        for item in items:
            told.setdefault(item.record_id, []).append(item)
        stored = await ledger.read_chains(self._host.pool, list(told))
        chains = {record_id: facts.parse(chain) for record_id, chain in stored.items()}
        endings = {r: _ending(told[r], chain[-1].entry) for r, chain in chains.items()}
        await self._seal(await self._as_erased({r: o for r, o in endings.items() if o is not None}), chains)
        sealed = {r: chain for r, chain in chains.items() if any(s.entry.kind == EntryKind.SEALED for s in chain)}
        self._host.telemetry.events.labels("stale_outcome").inc(len(told) - len(sealed))
        for part in slices(list(sealed), lambda r: _size(sealed[r]), max_bytes=MAX_PUBLISHED_BYTES):
            await self._publish({record_id: sealed[record_id] for record_id in part})
        return []

    async def poisoned(self, item: Outcome, error: BaseException) -> Sequence[Outgoing]:
        """Leave a record that the database refuses to seal to on-call: it stays open, and is swept ever more rarely."""
        self._host.telemetry.events.labels("seal_refused").inc()
        self._host.telemetry.log.error("the database refuses to seal this record", record_id=str(item.record_id))
        return []

    # -- sealing --------------------------------------------------------------------------------------------------

    async def _as_erased(self, endings: Mapping[UUID, Outcome]) -> dict[UUID, Outcome]:
        """Return the endings, with one alone for records that are erased before they end: their answers are gone."""
        erased = await erasure.erased(self._host.pool, list(endings))
        return {r: outcome.model_copy(update=_ERASED) if r in erased else outcome for r, outcome in endings.items()}

    async def _seal(self, outcomes: Mapping[UUID, Outcome], chains: dict[UUID, list[Parsed]]) -> None:
        """Append ``sealed`` as the outcomes say; ``chains`` then holds what is stored."""
        now = self._clock()
        writers: dict[UUID, ChainWriter] = {}
        for record_id, outcome in outcomes.items():
            writer = writers[record_id] = ChainWriter(record_id, outcome.head)
            writer.add(EntryKind.SEALED, sealed_data(chains[record_id], outcome), now)
        if not writers:
            return
        async with self._host.pool.acquire() as connection, connection.transaction():
            met = await ledger.append(
                connection, [ledger.writes(writer, outcomes[r].head, now) for r, writer in writers.items()]
            )
            for record_id, writer in writers.items():
                entries: Sequence[Entry] = met.get(record_id, writer.entries)
                chains[record_id] += facts.parse(entries)
            await _insert_facts(connection, [chains[record_id] for record_id in writers if record_id not in met])
            reach(FaultPoint.RECORDER_SEAL_APPENDED)
        reach(FaultPoint.RECORDER_SEALED)
        self._host.telemetry.events.labels("sealed").inc(len(writers) - len(met))

    # -- publishing -----------------------------------------------------------------------------------------------

    async def _publish(self, chains: Mapping[UUID, Sequence[Parsed]]) -> None:
        contents = await self._contents.read(chains)
        await self._host.producer.send(
            Outgoing(
                self._host.wakeups.results_topic(chain[0].data),
                str(record_id).encode(),
                build_result(chain, contents[record_id]),
            )
            for record_id, chain in chains.items()
        )
        reach(FaultPoint.RECORDER_PUBLISHED)
        await self._host.pool.execute(_SQL["close_records"], list(chains))


def _ending(told: Sequence[Outcome], last: Entry) -> Outcome | None:
    """Return the first outcome that ends a chain at its present head; a stale one must not hide it."""
    head = (last.seq, last.hash.hex())
    return next((o for o in told if o.status != REPUBLISH and (o.head.seq, o.head.hash) == head), None)


async def _insert_facts(connection: Connection, chains: Sequence[Sequence[Parsed]]) -> None:
    rows = [facts.rows_of(chain) for chain in chains]
    for table in facts.TABLES:
        await copy_facts(connection, table, [row for one in rows for row in one[table]])


async def copy_facts(connection: Connection, table: str, rows: Sequence[facts.Row]) -> None:
    """Append rows to a table of facts, in one COPY."""
    if rows:
        columns = list(facts.TABLES[table])
        await connection.copy_records_to_table(table, schema_name="facts", columns=columns, records=rows)


def _size(chain: Sequence[Any]) -> int:
    """Return about how many bytes a result will need."""
    sealed = next(step for step in chain if step.entry.kind == EntryKind.SEALED)
    return int(chain[0].data["bytes"]) + _BYTES_PER_TOKEN * int(sealed.data["totals"]["output_tokens"])
