"""Which database and broker a command talks to: those that the environment names, else those of the running stack."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from services.runtime.errors import WaybillError
from services.runtime.postgres import open_pool
from services.runtime.settings import Settings, variables
from services.standalone import DEFAULT_STATE_DIR

if TYPE_CHECKING:
    from services.standalone.stack import Stack

NEEDED: Final = ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS")


class NoDeploymentError(WaybillError):
    """There is no Waybill to talk to."""

    hint = "Run `waybill up`, or set DATABASE_URL and KAFKA_BOOTSTRAP_SERVERS."


def settings(**overrides: Any) -> Settings:
    """Return the settings of a command; ``overrides`` are by field name and win over everything.

    What the environment does not name comes from the running stack, but only if it does not name both servers: a
    production environment never reads a state folder. Raises :class:`NoDeploymentError`, or ``SettingsError``.
    """
    if all(os.environ.get(name) for name in NEEDED):
        return Settings.load(**overrides)
    found = stack_environment()
    missing = [
        name for name in NEEDED if not os.environ.get(name) and name not in found and _field(name) not in overrides
    ]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise NoDeploymentError(f"{' and '.join(missing)} {verb} not set, and no stack runs in {state_dir()}.")
    if os.environ.get("WAYBILL_MASTER_KEY"):
        found = {name: value for name, value in found.items() if name != "WAYBILL_MASTER_KEY_FILE"}
    known = {field: found[name] for field, name in variables().items() if name in found and not os.environ.get(name)}
    return Settings.load(**known | overrides)


@asynccontextmanager
async def keyring_pool(settings: Settings, pool: asyncpg.Pool[Any]) -> AsyncIterator[asyncpg.Pool[Any]]:
    """Give a pool of the keyring's database: the given one, or one of its own database that is closed after."""
    if settings.keyring_database_url is None:
        yield pool
        return
    own = await open_pool(settings.keyring_database_url, service="cli", size=1)
    try:
        yield own
    finally:
        await own.close()


def state_dir() -> Path:
    """Return the folder in which a stack is looked for."""
    return Path(os.environ.get("WAYBILL_STATE_DIR") or DEFAULT_STATE_DIR)


def stack_environment() -> dict[str, str]:
    """Return the variables by which the services of the running stack know it; empty where none runs."""
    stack = _stack()
    if stack is None:
        return {}
    status = stack.status()
    if not status.running:
        return {}
    variables = {
        "DATABASE_URL": status.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": status.kafka_bootstrap_servers,
        "WAYBILL_SIMULATOR_URL": status.simulator_url,
        "WAYBILL_SECRETS_DIR": str(stack.folder.secrets),
        "WAYBILL_MASTER_KEY_FILE": str(stack.folder.master_key),
        "WAYBILL_NOTARY_KEY_FILE": str(stack.folder.notary_key),
        "WAYBILL_CHECKPOINT_DIR": str(stack.folder.checkpoints),
        "WAYBILL_ERASURE_LOG": str(stack.folder.erasure_log),
    }
    return {name: value for name, value in variables.items() if value}


def _stack() -> Stack | None:
    try:
        from services.standalone.stack import Stack
    except ImportError:
        # An install without the extra runs no stack.
        return None
    return Stack(state_dir())


def _field(variable: str) -> str:
    return next(field for field, name in variables().items() if name == variable)
