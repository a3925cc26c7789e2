"""The linter of catalogs and aliases: what is valid, and all the same probably not meant."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from services.policy.aliases import Aliases
from services.policy.catalog import Catalog
from services.policy.findings import Finding
from services.policy.providers import Provider


def lint_catalog(catalog: Catalog, aliases: Aliases) -> list[Finding]:
    """Return what is probably not meant in a catalog and its aliases."""
    found = [*_providers(catalog), *_models(catalog), *_reached(catalog, aliases)]
    return sorted(found, key=lambda finding: (finding.subject, finding.code))


def _providers(catalog: Catalog) -> Iterable[Finding]:
    used = {provider for provider, _ in catalog.models}
    for name, provider in catalog.providers.items():
        subject = f"provider {name}"
        if provider.unavailable is not None:
            yield Finding(
                "warning", "not-callable", subject, f"it cannot be called from here: {provider.unavailable}.",
                "Set the variable where router and executor run; until then none of its routes is chosen.",
            )  # fmt: skip
        if name not in used:
            yield Finding("warning", "no-models", subject, "it has no model.", "Give it one, or take it out.")
        if provider.secret is not None and _in_the_clear(provider):
            yield Finding(
                "error", "secret-in-the-clear", subject, "its secret would travel unencrypted.", "Use https."
            )  # fmt: skip
        if provider.hosting != "shared" and provider.retention_days:
            yield Finding(
                "warning", "keeps-data", subject,
                f"it is {provider.hosting} and keeps data for {provider.retention_days} days: sensitive data, which "
                "goes to such endpoints only, may be kept nowhere.",
                "If it keeps nothing, write `retention_days: zero`.",
            )  # fmt: skip


def _in_the_clear(provider: Provider) -> bool:
    address = urlsplit(provider.base_url or provider.base_url_template or "")
    if address.scheme != "http" or address.hostname is None:
        return False
    try:
        return not ipaddress.ip_address(address.hostname).is_loopback
    except ValueError:
        return address.hostname != "localhost"


def _models(catalog: Catalog) -> Iterable[Finding]:
    for (provider, name), model in catalog.models.items():
        subject = f"model {provider}/{name}"
        if model.max_output_tokens >= model.context_window:
            yield Finding(
                "error", "no-room", subject,
                "its answers may fill its whole context, so that no job fits it.",
                "Correct context_window or max_output_tokens.",
            )  # fmt: skip
        if "chat" in model.capabilities and not model.max_output_tokens:
            yield Finding("error", "no-answers", subject, "it chats without output.", "Give it max_output_tokens.")
        if "tools" in model.capabilities and model.tool_reliability is None:
            yield Finding(
                "warning", "reliability-unknown", subject,
                "it can call tools, and how reliably is not known: rules that ask for reliability rule it out.",
                "Give it tool_reliability, from evals of your own.",
            )  # fmt: skip
        if any(since.since > model.price.as_of for since in model.price.overrides):
            yield Finding(
                "warning", "later-price", subject,
                f"a price of it holds from a later day than {model.price.as_of}, and is not used.",
                "Move as_of, or prices_as_of for all models, to that day when it has come.",
            )  # fmt: skip


def _reached(catalog: Catalog, aliases: Aliases) -> Iterable[Finding]:
    for provider, name in catalog.models:
        routes = [
            offer.route for offer in catalog.offers if (offer.route.provider, offer.route.model) == (provider, name)
        ]
        parts = [
            target
            for alias in aliases.aliases.values()
            for target in (*alias.choices, *alias.fallbacks, *alias.shadows)
        ]
        if not any(target.matches(route) for target in parts for route in routes):
            yield Finding(
                "warning", "behind-no-alias", f"model {provider}/{name}",
                "no alias has it: only jobs that wish for it by name, and name no alias, can get it.",
                "Put it behind an alias in aliases.yaml, or take it out.",
            )  # fmt: skip
