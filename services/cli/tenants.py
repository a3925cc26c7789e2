"""`waybill tenant`: bring config/tenants.yaml into force, and see what is and was in force.

The file is the input, Postgres the truth: each content is kept once, by its digest, with an append-only history of when
it came into force, by whom and why. Running services follow within seconds. What is wrong with the file is said before
anything changes, and the topics exist before the version that needs them counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final

import asyncpg
import typer

from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.policy.errors import PolicyError
from services.runtime import queries, topics
from services.runtime.errors import WaybillError
from services.runtime.postgres import Connection, DatabaseUnreachableError
from services.runtime.secrets import Secrets
from services.runtime.settings import Settings
from services.runtime.topics import Change
from services.tenancy import Tenant, Tenants
from services.tenancy.load import load

_SQL: Final = queries.load("cli_tenants")
_IN_FORCE: Final = queries.load("tenants")["in_force"]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class TenantsRefusedError(WaybillError):
    """The file of the tenants cannot be used; nothing was changed."""

    hint = "Mend the file named, or set WAYBILL_CONFIG_DIR to the folder that holds it."


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did, or would do."""

    version: str
    changes: list[str]
    topics: list[Change]
    notes: list[str]
    seq: int | None
    """Its place in the history; None where it was in force already, or was not applied."""
    in_force: bool
    """Whether it was in force before."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Who publishes jobs, how each is known, and what was agreed.", no_args_is_help=True)
    group.command("apply")(apply_tenants)
    group.command("list")(list_tenants)
    group.command("history")(show_history)
    app.add_typer(group, name="tenant")


def apply_tenants(
    reason: Annotated[str, typer.Option(help="Why; it stays in the history.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    json: Json = False,
) -> None:
    """Bring config/tenants.yaml into force, and make the topics that it asks for. Nothing is ever deleted."""
    if not dry_run and not 1 <= len(reason.strip()) <= 500:
        raise typer.BadParameter("say why, in at most 500 characters", param_hint="--reason")
    done = asyncio.run(bring_into_force(load_settings(), reason.strip(), dry_run=dry_run))
    lines = [*done.changes, *(f"{c.topic}: {c.action} ({c.detail})" for c in done.topics)]
    lines += [f"note: {note}" for note in done.notes]
    if done.in_force:
        lines.append(f"Version {done.version[:12]} is in force already.")
    elif dry_run:
        lines.append(f"Version {done.version[:12]} would come into force.")
    else:
        lines.append(f"Version {done.version[:12]} is in force, as number {done.seq} of the history.")
    emit(
        {
            "dry_run": dry_run,
            "version": done.version,
            "seq": done.seq,
            "changes": done.changes,
            "topics": [{"topic": c.topic, "action": c.action, "detail": c.detail} for c in done.topics],
            "notes": done.notes,
        },
        json=json,
        text="\n".join(lines),
    )


def list_tenants(json: Json = False) -> None:
    """List the tenants in force."""
    seq, tenants = asyncio.run(_in_force(load_settings()))
    if not seq:
        emit({"seq": None, "version": None, "tenants": {}}, json=json, text="No tenants have been applied.")
        return
    lines = [f"version {tenants.digest().hex()[:12]}, number {seq} of the history"]
    for name, tenant in sorted(tenants.tenants.items()):
        lines += [name, *(f"  {line}" for line in _described(tenant))]
    content = tenants.model_dump(mode="json")["tenants"]
    emit({"seq": seq, "version": tenants.digest().hex(), "tenants": content}, json=json, text="\n".join(lines))


def show_history(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50, json: Json = False
) -> None:
    """List which versions came into force, when, by whom and why."""
    rows = asyncio.run(_history(load_settings(), limit))
    shown = [{**row, "applied_at": row["applied_at"].isoformat()} for row in map(dict, rows)]
    lines = [f"{r['seq']:>4}  {r['version'][:12]}  {r['applied_at']}  {r['applied_by']}  {r['reason']}" for r in shown]
    emit({"applied": shown}, json=json, text="\n".join(lines) or "No tenants have been applied.")


async def in_force(connection: Connection) -> tuple[int, Tenants]:
    """Return the tenants in force and their place in the history; 0 and nobody where none have been applied."""
    row = await connection.fetchrow(_IN_FORCE, 0)
    return (0, Tenants(version=1)) if row is None else (row["seq"], Tenants.model_validate_json(row["content"]))


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Connection]:
    """Give a connection to the database; raises ``DatabaseUnreachableError``."""
    try:
        connection: Connection = await asyncpg.connect(settings.database_url)
    except (OSError, asyncpg.PostgresError) as error:
        raise DatabaseUnreachableError(f"Postgres does not answer: {type(error).__name__}") from error
    try:
        yield connection
    finally:
        await connection.close()


async def bring_into_force(settings: Settings, reason: str, *, dry_run: bool = False) -> Applied:
    """Apply the file of the settings' folder, or say what that would do.

    Raises :class:`TenantsRefusedError`, and what topics and the database raise; the version in force then stays.
    """
    with _refusing():
        wanted = load(settings.config_dir)
    async with connected(settings) as connection:
        number, current = await in_force(connection)
        # First the topics: no service may be told of a tenant whose results have nowhere to go.
        made = await topics.apply(settings, wanted, dry_run=dry_run)
        seq = None if dry_run else await connection.fetchval(_SQL["apply"], wanted.content().decode(), reason)
    same = bool(number) and current.digest() == wanted.digest() if dry_run else seq is None
    changes, notes = list(_changes(current, wanted)), list(_notes(settings, current, wanted))
    return Applied(wanted.digest().hex(), changes, made, notes, seq, same)


async def _in_force(settings: Settings) -> tuple[int, Tenants]:
    async with connected(settings) as connection:
        return await in_force(connection)


async def _history(settings: Settings, limit: int) -> list[asyncpg.Record]:
    async with connected(settings) as connection:
        return list(await connection.fetch(_SQL["history"], limit))


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except PolicyError as error:
        raise TenantsRefusedError(str(error), hint=error.hint) from error


def _changes(before: Tenants, after: Tenants) -> Iterator[str]:
    """Say what becomes of each tenant, by the names of what changes."""
    for name in sorted(before.tenants.keys() | after.tenants.keys()):
        old, new = before.get(name), after.get(name)
        if old is None and new is not None:
            yield f"{name}: added"
        elif new is None:
            yield f"{name}: removed"
        elif old is not None and old != new:
            yield f"{name}: {', '.join(field for field in Tenant.model_fields if _of(old, field) != _of(new, field))}"


def _of(tenant: Tenant, field: str) -> Any:
    return getattr(tenant, field)


def _notes(settings: Settings, before: Tenants, after: Tenants) -> Iterator[str]:
    """Say what a person should know of this version, and nothing refuses."""
    secrets = Secrets(settings.secrets_dir)
    for name, tenant in sorted(after.tenants.items()):
        for key in tenant.keys:
            if not secrets.get(key.secret):
                yield f"the secret {key.secret} of {name} is not here; the classifier needs it"
        if tenant.budgets.daily_usd is not None or tenant.budgets.monthly_usd is not None:
            yield f"the budgets of {name} are kept and shown; nothing enforces them yet"
    for name in sorted(before.tenants.keys() - after.tenants.keys()):
        if before.has_topics(name):
            yield f"the topics of {name} stay; what still stands in them becomes dead letters"


def _described(tenant: Tenant) -> Iterator[str]:
    if tenant.topics:
        yield "topics of its own"
    for key in tenant.keys:
        yield f"key {key.id} (secret {key.secret})"
    if not tenant.is_bound:
        yield "neither topics nor keys: its jobs are taken only where unsigned ones are"
    if tenant.regions is not None:
        yield f"regions {', '.join(tenant.regions)}"
    if tenant.in_doubt_cap_usd is not None:
        yield f"in doubt up to ${tenant.in_doubt_cap_usd:f}"
    for data_class, days in tenant.retention_days.items():
        yield f"{data_class} content kept {days} days"
    if tenant.rules:
        yield f"rules of its own: {', '.join(rule_file.file for rule_file in tenant.rules)}"
    for period, usd in tenant.budgets.model_dump(exclude_none=True).items():
        yield f"budget {period.removesuffix('_usd')} ${usd} (not enforced yet)"
