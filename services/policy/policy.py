"""A loaded policy: the one object that decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from schemas.decision import Decision, Inputs, NoRoute, Route
from schemas.features import Features
from services.policy.aliases import Aliases
from services.policy.bundle import Bundle
from services.policy.catalog import Catalog
from services.policy.choice import choose
from services.policy.circumstances import NOTHING, ORDINARY, Circumstances
from services.policy.fitting import fit
from services.policy.matching import Fired
from services.policy.plan import Planner, TenantLimits


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

    @classmethod
    def from_content(
        cls,
        bundle: Mapping[str, Any],
        catalog: Mapping[str, Any],
        aliases: Mapping[str, Any],
        environ: Mapping[str, str] | None = None,
    ) -> Policy:
        """Return the policy whose parts told their `content()`: decisions come out again as they were.

        Without `environ` nothing can be called with its catalog. Raises :class:`~services.policy.errors.PolicyError`.
        """
        return cls(Bundle.from_content(bundle), Catalog.from_content(catalog, environ), Aliases.from_content(aliases))

    def decide(
        self, features: Features, limits: TenantLimits | None = None, now: Circumstances = ORDINARY
    ) -> Decision | NoRoute:
        """Return which route handles a job and why, or why none does.

        ``limits`` are those of its tenant; ``now`` says what is closed, what money is left, and which record it is.
        Equal features, limits and circumstances give equal decisions, byte for byte. Decisions share their parts:
        treat them as immutable. The first reason of a :class:`NoRoute` has the code ``no_route`` or
        ``budget_exceeded``; its ``waits_for`` says what would give the job a route again.
        """
        inputs = self._inputs
        if limits is not None or now.health.closed or now.money is not None:
            changed: dict[str, str] = {} if limits is None else {"tenants": limits.version}
            money = NOTHING if now.money is None else now.money.hash
            inputs = inputs.model_copy(update={**changed, "health": now.health.hash, "budgets": money})
        return choose(self._planner.plan(features, limits.regions if limits else None), features, inputs, now)

    def objection(
        self, features: Features, route: Route, limits: TenantLimits | None = None, now: Circumstances = ORDINARY
    ) -> str | None:
        """Return why a job may not take a route, in words; ``None`` if it may, as first route or as a fallback."""
        plan = self._planner.plan(features, limits.regions if limits else None)
        ruled_out = list(plan.ruled_out)
        found = fit(plan, features.input_tokens, now, None, ruled_out)
        fitting = [plan.candidates[place].route for _, _, place in found.order]
        if any((it.name, it.tier) == (route.name, route.tier) for it in fitting):
            return None
        label = route.name if route.tier == "standard" else f"{route.name} ({route.tier})"
        told = next((out.text for out in ruled_out if {route.name, label} & set(out.route.split(", "))), None)
        return told or f"the catalog has no route {label} for this job"

    def fired(self, features: Features) -> list[Fired]:
        """Return the rules that apply to a job, in the order of their ids."""
        return self._planner.fired(features)

    def with_bundle(self, bundle: Bundle) -> Policy:
        """Return the policy with another bundle over the same catalog and aliases."""
        return Policy(bundle, self.catalog, self.aliases)

    @cached_property
    def _planner(self) -> Planner:
        return Planner(self.bundle, self.catalog, self.aliases)

    @cached_property
    def _inputs(self) -> Inputs:
        return Inputs(catalog=self.catalog.hash, aliases=self.aliases.hash, health=NOTHING, budgets=NOTHING)
