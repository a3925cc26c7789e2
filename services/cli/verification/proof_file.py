"""`waybill verify-proof`: checks a proof file offline, with a public key and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.output import emit
from services.cli.verification import trust
from services.cli.verification.command import DAMAGED
from services.proof.errors import ProofError, ProofFileError
from services.proof.proof_file import ProofFile


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("verify-proof")(verify_proof)


def verify_proof(
    file: Annotated[Path, typer.Argument(help="What `waybill record export` wrote.")],
    key: Annotated[str, typer.Option("--key", metavar="KEY", help="The public key that you trust, or its file.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check that a record is as its notary signed it. Needs no settings, no database and no network.

    Exit status 0: it is; 3: it is not; 1: it could not be checked.
    """
    trusted = trust.parse_key(key)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProofFileError(f"{file} cannot be read: {type(error).__name__}") from None
    try:
        proof = ProofFile.parse(text)
        signed = proof.check(trusted)
    except ProofError as error:
        emit({"proven": False, "fault": str(error)}, json=json, text=f"NOT proven: {error}")
        raise typer.Exit(DAMAGED) from None
    count = len(proof.entries)
    lines = len(proof.access_log)
    said = f"\nIts access log, of {lines} lines, is a copy: nothing proves it." if lines else ""
    emit(
        {
            "proven": True,
            "record_id": proof.record_id,
            "entries": count,
            "origin": signed.origin,
            "checkpoint_size": signed.size,
            "time": signed.time,
        },
        json=json,
        text=f"Record {proof.record_id}: its first {count} entries are proven by the checkpoint of {signed.origin} "
        f"with {signed.size:,} entries, signed {signed.time:%Y-%m-%d %H:%M:%SZ}.\n"
        f"Entries that came later are not in this file.{said}",
    )
