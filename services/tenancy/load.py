"""Reading ``config/tenants.yaml``, and the files of rules that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.detect import OwnRules, OwnRulesError
from services.policy.errors import PolicyError
from services.policy.files import parse, read_yaml
from services.tenancy.tenants import RuleFile, Tenants

FILE: Final = "tenants.yaml"


class TenantsError(PolicyError):
    """The file of the tenants cannot be used."""


class TenantRulesError(TenantsError):
    """A tenant's own rules cannot be used."""

    hint = "docs/classifier.md says what a file of rules may hold; `waybill classify FILE --rules FILE` tries one."


def load(config_dir: Path) -> Tenants:
    """Read ``tenants.yaml`` of a folder, with the content of the rules that it names.

    Raises :class:`TenantsError`, or policy's ``FileError``, naming the file and each path in it that is wrong.
    """
    path = config_dir / FILE
    tenants = parse(Tenants, read_yaml(path), where=str(path), error=TenantsError)
    with_rules = {
        name: tenant.model_copy(update={"rules": _read(config_dir, tenant.rules)})
        for name, tenant in tenants.tenants.items()
        if tenant.rules
    }
    return tenants.model_copy(update={"tenants": {**tenants.tenants, **with_rules}}) if with_rules else tenants


def _read(config_dir: Path, named: tuple[RuleFile, ...]) -> tuple[RuleFile, ...]:
    """Return the files with their content; raises :class:`TenantRulesError` where one is not usable."""
    read: list[RuleFile] = []
    for rule_file in named:
        path = config_dir / rule_file.file
        try:
            content = path.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
            raise TenantRulesError(f"{path}: {reason}.") from error
        read.append(parse(RuleFile, {"file": rule_file.file, "content": content}, where=str(path), error=TenantsError))
    try:
        OwnRules.compiled((rule_file.file, rule_file.content.encode()) for rule_file in read)
    except OwnRulesError as error:
        raise TenantRulesError(f"{config_dir / error.file}: {error.reason}.") from error
    return tuple(read)
