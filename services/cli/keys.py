"""`waybill keys public|rotate`: the key by which others check the record, and the one that wraps all others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from services.cli import rotation
from services.cli.environment import keyring_pool
from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.cli.rotation import InUse, Rotation
from services.cli.verification import trust
from services.runtime.master_keys import MasterKeys
from services.runtime.postgres import open_pool
from services.runtime.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="The notary's key, and the master key.", no_args_is_help=True)
    group.command("public")(public)
    group.command("rotate")(rotate)
    app.add_typer(group, name="keys")


def public(json: Json = False) -> None:
    """Print the notary's public key, as C2SP and Go write it: NAME+HASH+BASE64."""
    key = str(trust.public_key(load_settings()))
    emit({"public_key": key}, json=json, text=key)


def rotate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many keys each master key wraps.")] = False,
    json: Json = False,
) -> None:
    """Wrap every key of the keyring anew under the first master key, while services run.

    It may be stopped and started again. The exit status is 1 if keys are left under another master key.
    """
    settings = load_settings()
    masters = MasterKeys.of(settings)
    done, used = asyncio.run(_rotate(settings, masters, dry_run=dry_run))
    left = [one for one in used if one.master_key != masters.current.name]
    free = rotation.removable(masters, used)
    emit(
        {
            "dry_run": dry_run,
            "current": masters.current.name,
            "rewrapped": {"records": done.records, "tenants": done.tenants},
            "damaged": sorted(map(str, done.damaged)),
            "left": [{"master_key": o.master_key, "records": o.records, "tenants": o.tenants} for o in left],
            "removable": free,
        },
        json=json,
        text="\n".join(_lines(done, left, free, masters, dry_run=dry_run)),
    )
    if left and not dry_run:
        raise typer.Exit(1)


def _lines(
    done: Rotation, left: Sequence[InUse], free: Sequence[str], masters: MasterKeys, *, dry_run: bool
) -> list[str]:
    lines = [
        f"The current master key is {masters.current.name}."
        if dry_run
        else f"{done.records:,} record keys and {done.tenants:,} tenant keys were wrapped anew under the master key "
        f"{masters.current.name}."
    ]
    for one in left:
        known = "" if one.master_key in masters.names else ", which is not among those set"
        lines.append(f"Master key {one.master_key}{known}: {one.records:,} record keys, {one.tenants:,} tenant keys.")
    if done.damaged:
        lines.append(f"{len(done.damaged):,} of them do not open, and were left as they are.")
    if not left:
        lines.append("No key is under another one.")
    for name in free:
        lines.append(
            f"Master key {name} may be removed from the services; keep it for as long as a backup of the keyring "
            "from before now."
        )
    return lines


async def _rotate(settings: Settings, masters: MasterKeys, *, dry_run: bool) -> tuple[Rotation, list[InUse]]:
    pool = await open_pool(settings.database_url, service="cli", size=1)
    try:
        async with keyring_pool(settings, pool) as keyring:
            done = Rotation() if dry_run else await rotation.rotate(keyring, masters, _tell)
            return done, await rotation.in_use(keyring)
    finally:
        await pool.close()


def _tell(done: Rotation) -> None:
    typer.echo(f"{done.rewrapped:,} keys wrapped anew", err=True)
