"""Deciding which model handles a job, under which limits, and why: a pure library.

Authority: none of its own. It reads configuration files once, at :meth:`Policy.load`; after that every call is a pure
function of its arguments, with no clock, no network, no database and no randomness, so that any decision can be made
again from the record. All state is immutable but one bounded memo, which cannot change a result.

How it fails: files that cannot be used raise :class:`PolicyError` at load, naming file, line and rule, and nothing is
loaded. A condition that cannot be evaluated for a job counts as true. Nothing eligible is an answer, not an error:
``NoRoute``, with the same explanation as a decision, and with what the job may wait for.

    files -> catalog, aliases, bundle -> Policy, each kept and named by its content
    features -> plan (rules joined, routes permitted; remembered)
             -> fit (size, money, what is closed) -> choice, fallbacks, escalation, shadows -> Decision
    beside deciding: lint, examples, difference, backtest
"""

from __future__ import annotations

from services.policy.aliases import Alias, Aliases, Target
from services.policy.bundle import Bundle, Rule
from services.policy.catalog import Catalog, Offer
from services.policy.circumstances import Circumstances, Closed, Health, MoneyLeft
from services.policy.errors import AliasError, BundleError, CatalogError, FileError, PolicyError
from services.policy.explain import explain
from services.policy.plan import TenantLimits
from services.policy.policy import Policy
from services.policy.providers import Model, Provider

__all__ = [
    "Alias",
    "AliasError",
    "Aliases",
    "Bundle",
    "BundleError",
    "Catalog",
    "CatalogError",
    "Circumstances",
    "Closed",
    "FileError",
    "Health",
    "Model",
    "MoneyLeft",
    "Offer",
    "Policy",
    "PolicyError",
    "Provider",
    "Rule",
    "Target",
    "TenantLimits",
    "explain",
]
