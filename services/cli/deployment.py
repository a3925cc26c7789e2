"""Bringing a deployment to what the files say, and running one service: migrate, topics, config, serve."""

from __future__ import annotations

import asyncio
import os
from importlib import import_module
from typing import Annotated, Any, Final

import asyncpg
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.cli.tenants import in_force
from services.runtime import host, migrate, topics
from services.runtime.postgres import Connection, DatabaseUnreachableError
from services.runtime.settings import Settings, variables

SERVICES: Final = {
    "classifier": "services.classifier.app:Classifier",
    "router": "services.router.app:Router",
    "executor": "services.executor.app:Executor",
    "recorder": "services.recorder.app:Recorder",
}
"""Imported only when served: one service needs detectors, another adapters, and each pays for its own."""
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("serve")(serve)
    app.command("migrate")(run_migrations)
    app.command("config")(show_config)
    group = typer.Typer(help="The topics of the cluster.", no_args_is_help=True)
    group.command("apply")(apply_topics)
    app.add_typer(group, name="topics")


def serve(name: Annotated[str, typer.Argument(help="classifier, router, executor or recorder")]) -> None:
    """Run one service, with settings from the environment, until it is told to stop."""
    if name not in SERVICES:
        raise typer.BadParameter(f"there is no service {name}; choose one of {', '.join(SERVICES)}")
    module, _, service = SERVICES[name].partition(":")
    uvloop.run(host.serve(name, Settings.load(), getattr(import_module(module), service)))


def run_migrations(
    roles: Annotated[
        bool, typer.Option("--roles", help="Only print the SQL that makes the roles, for an administrator to run.")
    ] = False,
    json: Json = False,
) -> None:
    """Bring the database to this release: each migration once, each a transaction, all as the role waybill_owner."""
    if roles:
        typer.echo(migrate.script("roles"), nl=False)
        return
    applied = asyncio.run(_migrate(load_settings()))
    emit(
        {"applied": applied},
        json=json,
        text="\n".join(f"applied {name}" for name in applied) or "The database is up to date.",
    )


async def _migrate(settings: Settings) -> list[str]:
    connection = await _connect(settings.database_url)
    try:
        applied = await migrate.migrate(connection)
    finally:
        await connection.close()
    keyring = await _connect(settings.keyring_database_url or settings.database_url)
    try:
        await migrate.migrate_keyring(keyring)
    finally:
        await keyring.close()
    return [f"{migration.version:04}_{migration.name}" for migration in applied]


async def _connect(url: str) -> Connection:
    try:
        return await asyncpg.connect(url)
    except (OSError, asyncpg.PostgresError) as error:
        raise DatabaseUnreachableError(f"Postgres does not answer: {type(error).__name__}") from error


def apply_topics(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False, json: Json = False
) -> None:
    """Create topics that are missing, tenants' own too, widen and configure those that differ; none is ever deleted."""
    changes = asyncio.run(_apply_topics(load_settings(), dry_run=dry_run))
    lines = [f"{change.topic}: {change.action} ({change.detail})" for change in changes]
    emit(
        {"dry_run": dry_run, "changes": [{"topic": c.topic, "action": c.action, "detail": c.detail} for c in changes]},
        json=json,
        text="\n".join(lines) or "The topics are as they should be.",
    )


async def _apply_topics(settings: Settings, *, dry_run: bool) -> list[topics.Change]:
    connection = await _connect(settings.database_url)
    try:
        _, tenants = await in_force(connection)
    except asyncpg.UndefinedTableError:
        # Before the first migration there are no tenants.
        tenants = None
    finally:
        await connection.close()
    return await topics.apply(settings, tenants, dry_run=dry_run)


def show_config(json: Json = False) -> None:
    """List every setting with its value and where it comes from; secrets are masked."""
    values = load_settings()
    rows: list[dict[str, Any]] = [
        {
            "variable": variable,
            "value": _shown(name, getattr(values, name)),
            "source": "environment"
            if variable in os.environ
            else ("default" if name not in values.model_fields_set else "running stack"),
            "about": Settings.model_fields[name].description or "",
        }
        for name, variable in variables().items()
    ]
    if json:
        emit({"settings": rows}, json=True, text="")
        return
    table = Table("variable", "value", "source", "about")
    for row in rows:
        table.add_row(row["variable"], str(row["value"]), row["source"], row["about"])
    Console().print(table)


def _shown(name: str, value: Any) -> str | None:
    """Mask secrets: a password field, and the password within an address."""
    if value is None:
        return None
    if name.endswith("database_url"):
        head, at, tail = str(value).rpartition("@")
        return f"{head.split('//')[0]}//***@{tail}" if at else str(value)
    return str(value)
