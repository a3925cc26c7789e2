"""Tenants in force, with a database and without."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from services.cli.tenants import Applied, bring_into_force
from services.runtime.settings import Settings
from services.tenancy import Tenants
from services.tenancy.load import FILE


def some_tenants(**agreed: dict[str, Any]) -> Tenants:
    """Return tenants by name, with what was agreed."""
    return Tenants.model_validate({"version": 1, "tenants": agreed})


@dataclass
class Nobody:
    """What counts where nobody is a tenant, or those given."""

    current: Tenants = field(default_factory=some_tenants)


async def apply_tenants(settings: Settings, folder: Path, reason: str = "a test", **agreed: dict[str, Any]) -> Applied:
    """Bring tenants into force as `waybill tenant apply` does, from a file in a folder of the test's own."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - a small file of a test
    document = some_tenants(**agreed).model_dump(mode="json", exclude_defaults=True)
    (folder / FILE).write_bytes(orjson.dumps({"version": 1, **document}))
    return await bring_into_force(settings.model_copy(update={"config_dir": folder}), reason)
