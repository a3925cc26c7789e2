"""Reading ``config/tenants.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.policy.errors import PolicyError
from services.policy.files import parse, read_yaml
from services.tenancy.tenants import Tenants

FILE: Final = "tenants.yaml"


class TenantsError(PolicyError):
    """The file of the tenants cannot be used."""


def load(config_dir: Path) -> Tenants:
    """Read ``tenants.yaml`` of a folder.

    Raises :class:`TenantsError`, or policy's ``FileError``, naming the file and each path in it that is wrong.
    """
    path = config_dir / FILE
    return parse(Tenants, read_yaml(path), where=str(path), error=TenantsError)
