"""The detectors' rules of each tenant, compiled once for each content: compiling takes milliseconds, asking none."""

from __future__ import annotations

from services.detect import OwnRules, OwnRulesError
from services.tenancy.tenants import RuleFile, Tenants


class CompiledRules:
    """The compiled rules of the tenants that were asked for. Used by one thread at a time."""

    def __init__(self) -> None:
        """Begin with none."""
        self._made: dict[str, tuple[tuple[RuleFile, ...], OwnRules | OwnRulesError]] = {}

    def of(self, tenants: Tenants, tenant: str) -> OwnRules | None:
        """Return a tenant's own rules by this version of the tenants, None where it has none.

        Raises :class:`OwnRulesError` where this release cannot compile them: a newer one applied them.
        """
        files = tenants.rules(tenant)
        if not files:
            self._made.pop(tenant, None)
            return None
        known = self._made.get(tenant)
        if known is None or known[0] != files:
            known = self._made[tenant] = files, _compiled(files)
        if isinstance(known[1], OwnRulesError):
            raise known[1]
        return known[1]


def _compiled(files: tuple[RuleFile, ...]) -> OwnRules | OwnRulesError:
    try:
        return OwnRules.compiled((file.file, file.content.encode()) for file in files)
    except OwnRulesError as error:
        return error
