"""A tenant's own rules: applied from files, followed by a running classifier, named in what it appends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.flow import Flow, chain_of, decide, record_of
from support.jobs import job, take_in
from support.servers import OpenHost
from support.stack_running import until
from support.tenants import apply_tenants

from services.cli.tenants import TenantsRefusedError
from services.detect import RULE_SET_VERSION, OwnRules
from services.policy import Policy
from services.runtime.settings import Settings

RULES = r"""
types: {project: business}
classes: {project: CLASS}
patterns: [{id: acme_project, type: project, regex: '\bproject [a-z]+fish\b', confidence: 0.9}]
"""
TEXT = "What became of project swordfish?"


async def classified(flow: Flow, tenant: str) -> dict[str, Any]:
    """Return what the classifier says of a tenant's job, decided too."""
    messages = await take_in(flow.classifier, job(TEXT, tenant=tenant))
    await decide(flow.router, messages)
    received, found, decided = await chain_of(flow.host, record_of(messages[0]))
    assert [received.kind, found.kind, decided.kind] == ["received", "classified", "decided"]
    data: dict[str, Any] = found.content()["data"]
    return data


def written(folder: Path, data_class: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "acme.yaml"
    file.write_text(RULES.replace("CLASS", data_class))
    return file


async def test_a_running_classifier_follows_a_tenants_rules(
    settings: Settings, host: OpenHost, policy: Policy, tmp_path: Path
) -> None:
    folder = tmp_path / "tenants"
    flow = await Flow.open(host, policy)
    tenants = flow.host.tenants
    following = asyncio.create_task(tenants.follow())
    try:
        assert (await classified(flow, "acme"))["features"]["findings"] == {}

        for number, data_class in enumerate(["confidential", "regulated"], start=1):
            file = written(folder, data_class)
            await apply_tenants(settings, folder, acme={"rules": [{"file": "acme.yaml"}]}, other={})

            async def followed(at: int = number) -> bool:
                return tenants.seq == at

            await until(followed, "the classifier has heard of the version")
            data = await classified(flow, "acme")
            assert data["features"]["findings"] == {"project": 1}
            assert data["features"]["data_class"] == data_class
            assert data["rules"] == OwnRules.load([file]).version
            assert data["reasons"]["data_class"] == ["project"]
            other = await classified(flow, "other")
            assert (other["features"]["findings"], other["rules"]) == ({}, RULE_SET_VERSION)

        # The classifier never reads the file: what it says after the apply does not count.
        file.write_text("broken: [")
        assert (await classified(flow, "acme"))["features"]["data_class"] == "regulated"
        with pytest.raises(TenantsRefusedError, match=r"acme\.yaml: is not YAML"):
            await apply_tenants(settings, folder, acme={"rules": [{"file": "acme.yaml"}]})
        assert tenants.seq == 2
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
