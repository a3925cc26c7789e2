"""Both command groups, to be added at once."""

from __future__ import annotations

import typer

from services.cli.policies import catalog, policy


def register(app: typer.Typer) -> None:
    """Add these commands."""
    policy.register(app)
    catalog.register(app)
