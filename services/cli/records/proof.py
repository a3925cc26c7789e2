"""`waybill record verify|export`: one record against what was signed, and as a file that proves it to others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.cli.records import content
from services.cli.records.select import NoSuchRecordError
from services.cli.verification import trust
from services.cli.verification.command import DAMAGED
from services.cli.verification.record_proof import Prover, StoredChain, read_chain
from services.proof.checkpoint import Checkpoint
from services.proof.errors import ProofError
from services.proof.proof_file import ProofFile
from services.runtime.errors import WaybillError
from services.runtime.ledger import verify_chain
from services.runtime.postgres import open_pool
from services.runtime.settings import Settings

Id = Annotated[UUID, typer.Argument(help="Id of the record.", metavar="ID")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class NotCoveredError(WaybillError):
    """No checkpoint covers the record yet."""

    hint = "The notary signs at least once a minute; `waybill verify` says what it has signed."


@dataclass(frozen=True)
class _Looked:
    chain: StoredChain
    proof: ProofFile
    checkpoint: Checkpoint
    fault: str | None


def verify(record_id: Id, key: trust.Key = None, checkpoints: trust.Checkpoints = None, json: Json = False) -> None:
    """Verify one record: its chain, its place in the signed tree, and the signature.

    Exit status 0: all holds; 3: something does not; 1: it could not be verified. That no record is missing as a whole
    is what `waybill verify` proves.
    """
    looked = asyncio.run(_look(load_settings(), record_id, key, checkpoints))
    signed, proven = looked.checkpoint, len(looked.proof.entries)
    tail = len(looked.chain.entries) - proven
    at = f"{signed.time:%Y-%m-%d %H:%M:%SZ}"
    lines = [
        f"Record {record_id}: {proven} entries are proven by the checkpoint of {signed.size:,} entries, signed {at}."
    ]
    if tail:
        lines.append(
            f"{tail} later entries are chained, not covered by a checkpoint yet: more could have been cut off."
        )
    if looked.fault:
        lines = [f"Record {record_id} was CHANGED: {looked.fault}."]
    emit(
        {
            "record_id": record_id,
            "intact": looked.fault is None,
            "fault": looked.fault,
            "entries": len(looked.chain.entries),
            "proven": proven,
            "checkpoint": {"size": signed.size, "root": signed.root.hex(), "time": signed.time},
        },
        json=json,
        text="\n".join(lines),
    )
    if looked.fault:
        raise typer.Exit(DAMAGED)


def export(
    record_id: Id,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write, else standard output.")
    ] = None,
    key: trust.Key = None,
    checkpoints: trust.Checkpoints = None,
) -> None:
    """Write a file that proves one record to anybody who has the public key: `waybill verify-proof` checks it.

    It holds the entries and no content of the job. Entries after the last checkpoint are left out. It also says who
    read the record's content, and why; that part is a copy, which nothing proves.
    """
    looked = asyncio.run(_look(load_settings(), record_id, key, checkpoints))
    if looked.fault:
        typer.echo(f"Record {record_id} was CHANGED: {looked.fault}.", err=True)
        raise typer.Exit(DAMAGED)
    if not looked.proof.entries:
        raise NotCoveredError(f"no checkpoint covers record {record_id} yet")
    text = looked.proof.to_json()
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
    if left := len(looked.chain.entries) - len(looked.proof.entries):
        typer.echo(f"{left} entries are not covered by a checkpoint yet, and left out.", err=True)


async def _look(settings: Settings, record_id: UUID, key: str | None, path: Path | None) -> _Looked:
    published, trusted = trust.folder(settings, key, path)
    note = published.newest_note()
    newest = Checkpoint.opened(note, trusted)
    pool = await open_pool(settings.database_url, service="cli", size=1)
    try:
        chain = await read_chain(pool, record_id)
        if not chain.entries:
            raise NoSuchRecordError(f"there is no record {record_id}")
        prover = Prover(pool, newest)
        proof = ProofFile(record_id, note, await prover.prove(chain), await content.access_log_of(pool, record_id))
    finally:
        await pool.close()
    fault = verify_chain(chain.entries) or prover.fault
    if fault is None and proof.entries:
        try:
            proof.check(trusted)
        except ProofError as error:
            fault = str(error)
    return _Looked(chain, proof, newest, fault)
