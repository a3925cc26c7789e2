"""What a verification trusts: one public key, and the checkpoints that it signed."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import typer

from services.proof.checkpoint import Checkpoint
from services.proof.errors import KeyFormatError
from services.proof.folder import CheckpointFolder
from services.proof.note import SigningKey, VerifyingKey
from services.runtime.errors import WaybillError
from services.runtime.settings import Settings

Key = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", help="The notary's public key, or a file that holds it."),
]
Checkpoints = Annotated[
    Path | None, typer.Option("--checkpoints", help="The folder of published checkpoints, or a copy of it.")
]


class NothingToTrustError(WaybillError):
    """There is nothing to compare the database with."""

    hint = "`waybill serve recorder` publishes checkpoints when WAYBILL_NOTARY_KEY_FILE is set."


class CheckpointsContradictError(WaybillError):
    """The published checkpoints contradict one another."""

    hint = "Somebody has signed or assembled two histories: compare with copies of the folder kept elsewhere."


def parse_key(text: str) -> VerifyingKey:
    """Return a public key, given itself or as a file; raises :class:`KeyFormatError`."""
    file = Path(text)
    if "+" not in text or file.is_file():
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFormatError(f"the key file {file} cannot be read: {type(error).__name__}") from None
    return VerifyingKey.parse(text)


def public_key(settings: Settings) -> VerifyingKey:
    """Return the key of this deployment's notary; raises :class:`NothingToTrustError`, or a ``ProofError``."""
    if settings.notary_key_file is None:
        raise NothingToTrustError("there is no public key", hint="Give --key, or set WAYBILL_NOTARY_KEY_FILE.")
    return SigningKey.read(settings.notary_name, settings.notary_key_file).public


def folder(settings: Settings, key: str | None, path: Path | None) -> tuple[CheckpointFolder, VerifyingKey]:
    """Return the folder of checkpoints, and the key that they have to be signed by."""
    trusted = parse_key(key) if key else public_key(settings)
    return CheckpointFolder(path or settings.checkpoint_dir, trusted), trusted


def history(published: CheckpointFolder, system: int, least: int = 0) -> list[Checkpoint]:
    """Return all checkpoints of at least so many entries, oldest first, each signed.

    Raises :class:`NothingToTrustError` where there are none, :class:`CheckpointsContradictError` where they are no
    single history, and ``ProofError`` for one that is not signed.
    """
    published.newest()
    checkpoints = published.history(least)
    if not checkpoints:
        raise NothingToTrustError(f"no checkpoint of {least:,} entries or more has been published in {published.path}")
    for before, after in itertools.pairwise(checkpoints):
        if after.size <= before.size or after.system != before.system:
            raise CheckpointsContradictError(
                f"the checkpoint of {after.size:,} entries follows that of {before.size:,} in {published.path}"
            )
    if checkpoints[-1].system != system:
        raise CheckpointsContradictError(
            f"this is database cluster {system}; the checkpoints are of cluster {checkpoints[-1].system}"
        )
    return checkpoints
