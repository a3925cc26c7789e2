"""A loaded policy: the one object that decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from schemas.decision import Decision, Inputs, NoRoute
from schemas.features import Features
from services.policy.aliases import Aliases
from services.policy.bundle import Bundle
from services.policy.catalog import Catalog
from services.policy.choice import choose
from services.policy.files import content_hash
from services.policy.plan import Planner, TenantLimits

NOTHING = content_hash({})
"""The hash of an input that there is none of: health and budgets, which no decision reads yet."""


@dataclass(frozen=True)
class Policy:
    """A bundle, a catalog and aliases that fit together; immutable, and safe to share between threads."""

    bundle: Bundle
    catalog: Catalog
    aliases: Aliases

    @classmethod
    def load(cls, config_dir: Path, environ: Mapping[str, str]) -> Policy:
        """Read ``catalog.yaml``, ``aliases.yaml`` and ``policies/*.yaml``.

        `environ` is where ``${NAME}`` in addresses comes from. Raises :class:`~services.policy.errors.PolicyError`.
        """
        catalog = Catalog.load(config_dir / "catalog.yaml", environ)
        aliases = Aliases.load(config_dir / "aliases.yaml", catalog)
        return cls(Bundle.load(config_dir / "policies", catalog), catalog, aliases)

    def decide(self, features: Features, limits: TenantLimits | None = None) -> Decision | NoRoute:
        """Return which route handles a job and why, or why none does; ``limits`` are those of its tenant.

        Equal features and limits give equal decisions, byte for byte. Decisions share their parts: treat them as
        immutable.
        The first reason of a :class:`NoRoute` has the code ``no_route`` or ``budget_exceeded``.
        """
        if limits is None:
            return choose(self._planner.plan(features), features, self._inputs)
        inputs = self._inputs.model_copy(update={"tenants": limits.version})
        return choose(self._planner.plan(features, limits.regions), features, inputs)

    @cached_property
    def _planner(self) -> Planner:
        return Planner(self.bundle, self.catalog, self.aliases)

    @cached_property
    def _inputs(self) -> Inputs:
        return Inputs(catalog=self.catalog.hash, aliases=self.aliases.hash, health=NOTHING, budgets=NOTHING)
