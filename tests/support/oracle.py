"""The oracle: whether a finished history kept every promise, whatever was killed while it was made.

Three witnesses that know nothing of each other are laid side by side: the record in Postgres, the results topic, and
the simulated provider's own ledger of what it charged. :func:`read_history` reads the first and the last, and
:func:`faults` is pure and returns what does not fit, in words.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from schemas.codes import EntryKind
from schemas.result import Result
from services.recorder import facts
from services.recorder.facts import Parsed
from services.runtime import ledger
from services.runtime.ledger import Entry
from services.runtime.master_keys import MasterKeys
from services.runtime.tenant_keys import TenantKeys
from services.standalone.simulator.ledger import Charge, read_ledger
from support import sql

_SQL: Final = sql.load("oracle")
_JSON_COLUMNS: Final = ("labels", "held_seconds")
_ANSWERED: Final = ("ok", "failed")
_DOUBT_VERDICTS: Final = ("retry", "charged", "not_charged")


@dataclass(frozen=True)
class History:
    """Everything that is known of one tenant's jobs, and every charge, at a moment when all has come to rest."""

    tenant: str
    chains: Mapping[UUID, Sequence[Entry]]
    owners: Mapping[str, UUID | None]
    """The record that answers for each idempotency key published; None where there is none."""
    results: Sequence[bytes]
    """Every result of the tenant on the results topic, duplicates included."""
    charges: Sequence[Charge]
    """The provider's ledger, all tenants'."""
    claims: Mapping[UUID, UUID]
    """The record of every claim, all tenants'."""
    request_facts: Mapping[UUID, Mapping[str, Any]]
    attempt_facts: Mapping[UUID, Sequence[Mapping[str, Any]]]
    left_over: Sequence[tuple[str, UUID]] = ()
    keyless: Sequence[UUID] = ()
    orphan_keys: Sequence[UUID] = ()


async def read_history(
    database_url: str, charges: Path, master_key: Path, tenant: str, keys: Sequence[str], results: Sequence[bytes]
) -> History:
    """Read the history of a tenant whose jobs came under ``keys``; call it when nothing is in flight any more."""
    # The ledger first: a claim is committed before its call, so whatever is charged by now is claimed below.
    charged = read_ledger(charges)
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute(_SQL["snapshot"])
            ids = [row["record_id"] for row in await connection.fetch(_SQL["records_of"], tenant)]
            tenant_keys = TenantKeys(connection, MasterKeys.read(master_key))
            known = await tenant_keys.find(tenant)
            hmacs = {key: tenant_keys.key_hmac(tenant, key) if known else b"" for key in keys}
            owners = {
                row["key_hmac"]: row["record_id"]
                for row in await connection.fetch(_SQL["owners"], tenant, list(hmacs.values()))
            }
            attempts: dict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
            for row in await connection.fetch(_SQL["attempt_facts"], ids):
                attempts[row["record_id"]].append(dict(row))
            return History(
                tenant=tenant,
                chains=await ledger.read_chains(connection, ids),
                owners={key: owners.get(digest) for key, digest in hmacs.items()},
                results=results,
                charges=charged,
                claims={row["entry_id"]: row["record_id"] for row in await connection.fetch(_SQL["claims"])},
                request_facts={r["record_id"]: dict(r) for r in await connection.fetch(_SQL["request_facts"], ids)},
                attempt_facts=attempts,
                left_over=[(row["state"], row["record_id"]) for row in await connection.fetch(_SQL["left_over"], ids)],
                keyless=[row["record_id"] for row in await connection.fetch(_SQL["keyless"], ids)],
                orphan_keys=[row["record_id"] for row in await connection.fetch(_SQL["orphan_keys"])],
            )
    finally:
        await connection.close()


def faults(history: History, *, further_records: int = 0) -> list[str]:
    """Return every promise that the history breaks.

    ``further_records`` is how many records there are beside one for each key: replays, conflicts, rejected messages.
    """
    return [
        *_of_jobs(history, further_records),
        *(f"{record_id} {what}" for record_id, chain in history.chains.items() for what in _of_chain(chain)),
        *_of_results(history),
        *_of_charges(history),
        *_of_facts(history),
        *(f"{record_id} is {state} at the end" for state, record_id in history.left_over),
        *(f"{record_id} has no content key" for record_id in history.keyless),
        *(f"the key of {record_id} belongs to no record" for record_id in history.orphan_keys),
    ]


def _of_jobs(history: History, further: int) -> Iterator[str]:
    for key, record_id in history.owners.items():
        if record_id not in history.chains:
            yield f"the job under {key} has no record"
    shared = [record_id for record_id, count in Counter(history.owners.values()).items() if count > 1]
    yield from (f"{record_id} answers for several keys" for record_id in shared)
    expected = len(history.owners) + further
    if len(history.chains) != expected:
        yield f"there are {len(history.chains)} records, not {expected}"


def _of_chain(chain: Sequence[Entry]) -> Iterator[str]:
    damage = ledger.verify_chain(chain)
    if damage:
        yield damage
    kinds = [entry.kind for entry in chain]
    if kinds[0] != EntryKind.RECEIVED or kinds.count(EntryKind.RECEIVED) != 1:
        yield "is not received exactly once"
    if (seals := kinds.count(EntryKind.SEALED)) != 1:
        yield f"is sealed {seals} times"
    elif set(kinds[kinds.index(EntryKind.SEALED) + 1 :]) - {EntryKind.LATE_RESULT, EntryKind.FEEDBACK}:
        yield "goes on after its seal"
    if len({entry.entry_id for entry in chain}) != len(chain):
        yield "has an entry twice"


# -- results ----------------------------------------------------------------------------------------------------------


def _of_results(history: History) -> Iterator[str]:
    by_record: dict[UUID, list[bytes]] = defaultdict(list)
    for value in history.results:
        by_record[Result.model_validate_json(value).record_id].append(value)
    for record_id in by_record.keys() - history.chains.keys():
        yield f"there is a result of {record_id}, which is no record"
    for record_id, chain in history.chains.items():
        values = by_record.get(record_id)
        if not values:
            yield f"{record_id} has no result"
            continue
        if len(set(values)) > 1:
            yield f"{record_id} has results that differ"
        sealed = next((entry for entry in chain if entry.kind == EntryKind.SEALED), None)
        if sealed is not None:
            yield from (f"{record_id} {what}" for what in _disagreements(Result.model_validate_json(values[0]), sealed))
    key_of = {record_id: key for key, record_id in history.owners.items()}
    for record_id in by_record.keys() & key_of.keys():
        if Result.model_validate_json(by_record[record_id][0]).idempotency_key != key_of[record_id]:
            yield f"{record_id} has a result with another's key"


def _disagreements(result: Result, sealed: Entry) -> Iterator[str]:
    """Say where a result and the seal that it reports differ."""
    data = sealed.content()["data"]
    if (result.record_head.seq, result.record_head.hash) != (sealed.seq, sealed.hash.hex()):
        yield "has a result that names another head"
    if result.status != data["status"]:
        yield "has a result with another status"
    if (result.error.code if result.error else None) != (data["error"]["code"] if data["error"] else None):
        yield "has a result with another error"
    if Decimal(result.cost_usd) != Decimal(data["totals"]["cost_usd"]):
        yield "has a result with another cost"
    if result.attempts != data["totals"]["attempts"]:
        yield "has a result with another number of attempts"
    if (result.output is None) != (data["output_entry"] is None):
        yield "has a result whose output is missing, or made up"


# -- money ------------------------------------------------------------------------------------------------------------


def _of_charges(history: History) -> Iterator[str]:
    by_claim: dict[UUID, list[Charge]] = defaultdict(list)
    for charge in history.charges:
        if charge.attempt is None or UUID(charge.attempt) not in history.claims:
            yield f"charge {charge.charge_id} is in no record"
        else:
            by_claim[UUID(charge.attempt)].append(charge)
    for claim, charges in by_claim.items():
        if len(charges) > 1:
            yield f"claim {claim} was charged {len(charges)} times"
    for record_id, chain in history.chains.items():
        yield from (f"{record_id} {what}" for what in _of_payments(facts.parse(chain), by_claim))


def _of_payments(chain: Sequence[Parsed], charges: Mapping[UUID, Sequence[Charge]]) -> Iterator[str]:
    """Say which of a record's calls was paid in silence, or is told otherwise than the provider charged it."""
    answers = {UUID(s.data["claim"]): s for s in chain if s.entry.kind == EntryKind.ATTEMPT_FINISHED}
    yield from _of_late_answers(chain, answers, charges)
    claims = [step for step in chain if step.entry.kind == EntryKind.ATTEMPT_STARTED]
    for place, claim in enumerate(claims):
        charged = charges.get(claim.entry.entry_id, ())
        answer = answers.get(claim.entry.entry_id)
        if answer is not None and answer.data["outcome"] == "ok":
            if not charged:
                yield f"tells of an answer at {answer.entry.seq} that the provider did not charge"
            elif answer.data["usage"] and _tokens(answer.data["usage"]) != _charged_tokens(charged[0]):
                yield f"tells of other tokens at {answer.entry.seq} than the provider charged"
        for earlier in claims[:place] if charged else ():
            yield from _of_second_charge(chain, claim, earlier, answers, charges)


def _of_late_answers(
    chain: Sequence[Parsed], answers: Mapping[UUID, Parsed], charges: Mapping[UUID, Sequence[Charge]]
) -> Iterator[str]:
    """Say which late answer tells what is told already, or what the provider knows nothing of."""
    for late in (step for step in chain if step.entry.kind == EntryKind.LATE_RESULT):
        claim = UUID(late.data["claim"])
        if claim in answers and answers[claim].data["outcome"] != "lost":
            yield f"tells at {late.entry.seq} once more of an answer that it has at {answers[claim].entry.seq}"
        if late.data["outcome"] == "ok" and not charges.get(claim):
            yield f"tells of a late answer at {late.entry.seq} that the provider did not charge"


def _of_second_charge(
    chain: Sequence[Parsed],
    claim: Parsed,
    earlier: Parsed,
    answers: Mapping[UUID, Parsed],
    charges: Mapping[UUID, Sequence[Charge]],
) -> Iterator[str]:
    if not charges.get(earlier.entry.entry_id):
        return
    known = answers.get(earlier.entry.entry_id)
    if known is not None and known.entry.seq < claim.entry.seq and known.data["outcome"] in _ANSWERED:
        if known.data["outcome"] == "ok":
            yield f"was charged at {claim.entry.seq} although it had its answer at {known.entry.seq}"
        return
    between = [step for step in chain if earlier.entry.seq < step.entry.seq <= claim.entry.seq]
    disclosed = any(
        (step.entry.kind == EntryKind.ATTEMPT_STARTED and step.data["may_double_pay"])
        or (step.entry.kind == EntryKind.RELEASED and step.data["verdict"] in _DOUBT_VERDICTS)
        for step in between
    )
    if not disclosed:
        yield f"was charged twice in silence, at {earlier.entry.seq} and {claim.entry.seq}"


def _tokens(usage: Mapping[str, int]) -> tuple[int, int]:
    return usage["input_tokens"], usage["output_tokens"]


def _charged_tokens(charge: Charge) -> tuple[int, int]:
    return charge.prompt_tokens, charge.completion_tokens


# -- facts ------------------------------------------------------------------------------------------------------------


def _of_facts(history: History) -> Iterator[str]:
    for record_id, chain in history.chains.items():
        steps = facts.parse(chain)
        end = next((place for place, step in enumerate(steps) if step.entry.kind == EntryKind.SEALED), None)
        if end is None:
            continue
        request = dict(zip(facts.REQUEST_COLUMNS, facts.request_row(steps[: end + 1]), strict=True))
        if _comparable(request) != _comparable(history.request_facts.get(record_id, {})):
            yield f"{record_id} has another request row than its entries say"
        late = [row for step in steps[end + 1 :] for table, row in facts.late_rows(steps, step) if table == "attempt"]
        rows = [*facts.attempt_rows(steps[: end + 1]), *late]
        attempts = [dict(zip(facts.ATTEMPT_COLUMNS, row, strict=True)) for row in rows]
        if attempts != list(history.attempt_facts.get(record_id, ())):
            yield f"{record_id} has other attempt rows than its entries say"


def _comparable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its JSON parsed: how the database spaces it says nothing."""
    return {name: orjson.loads(value) if name in _JSON_COLUMNS else value for name, value in row.items()}
