"""Classification by the rules in force: the product's, and those of each job's tenant.

States of a tenant's rules: in force, compiled at the first job that they are for, replaced when a version of the
tenants comes that says otherwise. Authority: the version of the tenants that this process follows; no file is read.
How it fails: closed. Rules that this release cannot compile, and detectors that raise, make a job's analysis
incomplete, so that its data gets the strictest class; both are counted and logged, without anything that a job says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from schemas.job import Job
from services.classifier.classify import OWN_RULES_UNUSABLE, Classification, classify
from services.detect import OwnRulesError
from services.runtime.telemetry import Telemetry
from services.tenancy import Tenants
from services.tenancy.own_rules import CompiledRules


class Following(Protocol):
    """Who knows the tenants in force."""

    current: Tenants


class TenantRules:
    """Classifies jobs, each by its tenant's rules. Used by one thread at a time."""

    def __init__(self, following: Following, telemetry: Telemetry) -> None:
        """Take who knows the tenants in force, and where failures are told."""
        self._following = following
        self._telemetry = telemetry
        self._compiled = CompiledRules()

    def in_force(self) -> Callable[[Job], Classification]:
        """Return what classifies jobs by the rules of now: take it once for a slice."""
        return partial(self._classify, self._following.current)

    def _classify(self, tenants: Tenants, job: Job) -> Classification:
        try:
            made = classify(job, self._compiled.of(tenants, job.tenant))
        except OwnRulesError as error:
            self._telemetry.log.error("a tenant's rules cannot be used", tenant=job.tenant, error=str(error))
            made = classify(job, failed=[OWN_RULES_UNUSABLE])
        if made.detectors_failed:
            self._telemetry.events.labels("detector_failed").inc()
            self._telemetry.log.error("a detector failed", detectors=made.detectors_failed)
        return made
