"""Classification by the rules in force: the product's, and those of each job's tenant.

States of a tenant's rules: in force, compiled at the first job that they are for, replaced when a version of the
tenants comes that says otherwise. Authority: the version of the tenants that this process follows; no file is read.
How it fails: closed. Rules that this release cannot compile, and detectors that raise, make a job's analysis
incomplete, so that its data gets the strictest class; both are counted and logged, without anything that a job says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from schemas.job import Job
from services.classifier.classify import OWN_RULES_UNUSABLE, Classification, classify
from services.detect import OwnRules, OwnRulesError
from services.runtime.telemetry import Telemetry
from services.tenancy import RuleFile, Tenants


class Following(Protocol):
    """Who knows the tenants in force."""

    current: Tenants


class TenantRules:
    """Classifies jobs, each by its tenant's rules. Used by one thread at a time."""

    def __init__(self, following: Following, telemetry: Telemetry) -> None:
        """Take who knows the tenants in force, and where failures are told."""
        self._following = following
        self._telemetry = telemetry
        self._of = following.current
        self._compiled: dict[str, tuple[tuple[RuleFile, ...], OwnRules | None]] = {}

    def in_force(self) -> Callable[[Job], Classification]:
        """Return what classifies jobs by the rules of now: take it once for a slice."""
        tenants = self._following.current
        if tenants is not self._of:
            kept = {name: made for name, made in self._compiled.items() if made[0] == tenants.rules(name)}
            self._of, self._compiled = tenants, kept
        return self._classify

    def _classify(self, job: Job) -> Classification:
        files = self._of.rules(job.tenant)
        own = self._own(job.tenant, files) if files else None
        made = classify(job, own, failed=[OWN_RULES_UNUSABLE] if files and own is None else ())
        if made.detectors_failed:
            self._telemetry.events.labels("detector_failed").inc()
            self._telemetry.log.error("a detector failed", detectors=made.detectors_failed)
        return made

    def _own(self, tenant: str, files: tuple[RuleFile, ...]) -> OwnRules | None:
        if tenant not in self._compiled:
            self._compiled[tenant] = (files, self._compile(tenant, files))
        return self._compiled[tenant][1]

    def _compile(self, tenant: str, files: tuple[RuleFile, ...]) -> OwnRules | None:
        try:
            return OwnRules.compiled((file.file, file.content.encode()) for file in files)
        except OwnRulesError as error:  # a newer release applied them
            self._telemetry.log.error("a tenant's rules cannot be used", tenant=tenant, error=str(error))
            return None
