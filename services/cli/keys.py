"""`waybill keys public`: the key by which others check what this deployment's notary signed."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.cli.verification import trust


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="The notary's key.", no_args_is_help=True)
    group.callback()(_group)
    group.command("public")(public)
    app.add_typer(group, name="keys")


def _group() -> None:
    """The notary's key."""


def public(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Print the notary's public key, as C2SP and Go write it: NAME+HASH+BASE64."""
    key = str(trust.public_key(load_settings()))
    emit({"public_key": key}, json=json, text=key)
