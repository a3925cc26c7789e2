"""`waybill verify`: everything that is recorded against everything that was signed, or the facts against it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import asyncpg
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.cli.environment import settings as load_settings
from services.cli.facts.commands import verify as verify_facts
from services.cli.output import emit
from services.cli.records import select
from services.cli.verification import state, trust
from services.cli.verification.walk import SESSION, Findings, Walk, log_at, system
from services.proof.checkpoint import Checkpoint
from services.proof.pack import Log
from services.runtime.postgres import open_pool
from services.runtime.settings import Settings

DAMAGED: Final = 3
"""Exit status: something does not hold. 1 stands for what could not be verified at all."""
SHOWN_FAULTS: Final = 50
SAVE_EVERY_S: Final = 5.0


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("verify")(verify)


@dataclass(frozen=True)
class Verified:
    """What was verified, from where, and what came of it."""

    newest: Checkpoint
    start: int
    findings: Findings


def verify(
    key: trust.Key = None,
    checkpoints: trust.Checkpoints = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Begin at the last checkpoint before then: 2h, 3d, or a date.")
    ] = None,
    state_file: Annotated[
        Path | None, typer.Option("--state", help="Go on where this file says, and note in it how far it came.")
    ] = None,
    facts: Annotated[
        bool, typer.Option("--facts", help="Compare the facts that analysts read with the entries, instead.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Verify that every entry is as it was signed, and that none was added, removed or moved.

    With --facts: that every row of the facts is what the entries say. Neither looks at what the other does.
    Exit status 0: all holds; 3: something does not; 1: it could not be verified.
    """
    if since and state_file:
        raise typer.BadParameter("--since and --state exclude one another", param_hint="--since")
    if facts:
        if key or checkpoints or state_file:
            raise typer.BadParameter("--facts needs no key, checkpoints or state", param_hint="--facts")
        if not verify_facts(select.since_of(since), json=json):
            raise typer.Exit(DAMAGED)
        return
    job = _verify(load_settings(), key, checkpoints, select.since_of(since), state_file)
    verified = uvloop.run(job)
    found = verified.findings
    emit(_as_json(verified), json=json, text=_as_text(verified))
    if found.fault_count:
        raise typer.Exit(DAMAGED)


async def _verify(
    settings: Settings, key: str | None, path: Path | None, since: datetime | None, state_file: Path | None
) -> Verified:
    published, trusted = trust.folder(settings, key, path)
    pool = await open_pool(settings.database_url, service="verify", size=3, session=SESSION)
    try:
        cluster = await system(pool)
        done = state.read(state_file, str(trusted), cluster) if state_file else None
        signed = trust.history(published, cluster, done.tree.size if done else 0)
        start = done or await _start(pool, signed, since)
        walk = Walk(pool, signed, start)
        with _progress(signed[-1].size, start.tree.size) as shown:
            found = await walk.run(_advancing(shown, state_file, str(trusted), cluster))
        if state_file is not None and not found.fault_count:
            state.write(state_file, str(trusted), cluster, walk.log)
    finally:
        await pool.close()
    return Verified(signed[-1], start.tree.size, walk.findings)


async def _start(pool: asyncpg.Pool[Any], signed: Sequence[Checkpoint], since: datetime | None) -> Log:
    earlier = [checkpoint for checkpoint in signed if since is not None and checkpoint.time <= since]
    # Where what is stored there is not what was signed, the walk begins at the beginning and finds out why.
    return (await log_at(pool, earlier[-1]) if earlier else None) or Log.empty()


def _progress(total: int, done: int) -> Progress:
    progress = Progress(
        TextColumn("verifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("entries"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    progress.add_task("entries", total=total, completed=done)
    return progress


def _advancing(shown: Progress, file: Path | None, key: str, cluster: int) -> Callable[[Log], None]:
    saved = time.monotonic()

    def advance(log: Log) -> None:
        nonlocal saved
        shown.update(shown.task_ids[0], completed=log.tree.size)
        if file is not None and time.monotonic() - saved > SAVE_EVERY_S:
            state.write(file, key, cluster, log)
            saved = time.monotonic()

    return advance


def _as_json(verified: Verified) -> dict[str, Any]:
    found, newest = verified.findings, verified.newest
    return {
        "intact": not found.fault_count,
        "from_entry": verified.start,
        "entries": found.entries,
        "uncovered": found.uncovered,
        "checkpoints": found.checkpoints,
        "newest_checkpoint": {"size": newest.size, "root": newest.root.hex(), "time": newest.time},
        "fault_count": found.fault_count,
        "faults": [fault._asdict() for fault in found.faults[:SHOWN_FAULTS]],
    }


def _as_text(verified: Verified) -> str:
    found, newest = verified.findings, verified.newest
    proven = found.entries - found.uncovered
    since = f" from entry {verified.start:,} on" if verified.start else ""
    lines = [
        f"{proven:,} entries{since} compared with {found.checkpoints:,} checkpoints, "
        f"the last of {newest.size:,} entries, signed {newest.time:%Y-%m-%d %H:%M:%SZ}."
    ]
    if found.uncovered:
        lines.append(f"{found.uncovered:,} later entries are chained, but not covered by a checkpoint yet.")
    if not found.fault_count:
        lines.append("Everything holds.")
    else:
        lines += [str(fault) for fault in found.faults[:SHOWN_FAULTS]]
        if (more := found.fault_count - SHOWN_FAULTS) > 0:
            lines.append(f"… and {more:,} more.")
        lines.append("The record was CHANGED, or the checkpoints are not of this record.")
    return "\n".join(lines)
