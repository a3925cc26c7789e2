"""Tenants in force, without a database; and files of tenants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from services.tenancy import Tenants


def some_tenants(**agreed: dict[str, Any]) -> Tenants:
    """Return tenants by name, with what was agreed."""
    return Tenants.model_validate({"version": 1, "tenants": agreed})


@dataclass
class Nobody:
    """What counts where nobody is a tenant, or those given."""

    current: Tenants = field(default_factory=some_tenants)
