"""The catalog: which providers and models there are, what they can do, where they are, and what they cost.

Adding a model is a change of data. Everything that a decision can depend on is resolved at load, prices and the
environment's part of addresses included, and stands in :attr:`Catalog.hash`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator

from schemas.decision import Route
from services.policy.errors import CatalogError
from services.policy.files import Spec, content_hash, parse, parse_at
from services.policy.places import Document
from services.policy.prices import Price, Rates, resolve, usd, usd_at_most
from services.policy.providers import Model, Name, Provider

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")


class _File(Spec):
    version: Literal[1]
    prices_as_of: dt.date | None = None
    expected_output_tokens: dict[str, Annotated[int, Field(ge=0)]]
    providers: dict[Name, dict[str, Any]]
    models: Annotated[list[dict[str, Any]], Field(min_length=1)]

    @field_validator("expected_output_tokens")
    @classmethod
    def _has_a_default(cls, value: dict[str, int]) -> dict[str, int]:
        if "default" not in value:
            raise ValueError("needs a default, for tasks without a figure of their own")
        return value


class _Canonical(Spec):
    """A catalog as it is kept: everything resolved, so that neither a price table nor an environment is needed."""

    providers: dict[Name, Provider]
    models: list[Model]
    prices: dict[str, list[tuple[int, int, int, int, int, int]]]
    expected_output_tokens: dict[str, int]


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that can be had at a provider in one region and tier, at a price."""

    provider: Provider
    model: Model
    route: Route
    price: Price


class Catalog:
    """All providers, models and prices; immutable."""

    def __init__(
        self,
        providers: list[Provider],
        models: list[Model],
        expected_output_tokens: Mapping[str, int],
        *,
        prices: Mapping[tuple[str, str, str], Price] | None = None,
    ) -> None:
        """Take parsed parts; raises :class:`CatalogError` when they do not fit together.

        `prices` are by provider, model and tier; without them they are looked up.
        """
        self.providers: dict[str, Provider] = {provider.name: provider for provider in providers}
        self.models: dict[tuple[str, str], Model] = {}
        self._expected_output_tokens = dict(expected_output_tokens)
        self._prices: dict[tuple[str, str, str], Price] = dict(prices or {})
        for model in models:
            self._add(model, priced=prices is not None)
        # Batch tiers are for jobs of the class `batch` only; who chooses sees to that.
        self.offers: tuple[Offer, ...] = tuple(
            sorted(self._offers(), key=lambda offer: (offer.route.name, offer.route.tier))
        )
        self.hash: str = content_hash(self.content())

    @classmethod
    def load(cls, path: Path, environ: Mapping[str, str]) -> Catalog:
        """Read a catalog file; raises :class:`~services.policy.errors.PolicyError` naming the entry that is wrong."""
        document = Document.read(path)
        file = parse_at(_File, document, error=CatalogError)
        providers = [
            parse_at(
                Provider,
                document,
                steps=("providers", name),
                what=f"provider {name}",
                error=CatalogError,
                also={"name": name},
            )
            for name in file.providers
        ]
        models = [
            parse_at(
                Model,
                document,
                steps=("models", number),
                what=f"model {fields.get('name', number + 1)}",
                error=CatalogError,
                also=_dated(fields, file.prices_as_of),
            )
            for number, fields in enumerate(file.models)
        ]
        try:
            return cls([_resolved(provider, environ) for provider in providers], models, file.expected_output_tokens)
        except CatalogError as error:
            where = document.at(("models", error.model)) if error.model is not None else path
            raise CatalogError(f"{where}: {error}", hint=error.hint) from error

    @classmethod
    def from_content(cls, content: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Catalog:
        """Return the catalog that :meth:`content` told; with `environ`, its addresses resolved in it.

        Without `environ` nothing can be called with it, but every decision can be made again.
        """
        kept = parse(_Canonical, content, where="catalog", error=CatalogError)
        prices: dict[tuple[str, str, str], Price] = {}
        for key, bands in kept.prices.items():
            provider, model, tier = key.split("/")
            prices[provider, model, tier] = Price(tuple(Rates(*band) for band in bands))
        providers = list(kept.providers.values())
        if environ is not None:
            providers = [_resolved(provider, environ) for provider in providers]
        return cls(providers, kept.models, kept.expected_output_tokens, prices=prices)

    def reachable(self) -> Catalog:
        """Return this catalog as if every provider's address resolved: for judging what does not depend on that."""
        providers = [provider.model_copy(update={"unavailable": None}) for provider in self.providers.values()]
        return Catalog(providers, list(self.models.values()), self._expected_output_tokens, prices=self._prices)

    def provider(self, name: str) -> Provider:
        """Return a provider; raises :class:`CatalogError` on an unknown one."""
        if (found := self.providers.get(name)) is None:
            raise CatalogError(f"The catalog has no provider {name!r}.", hint="Add it to catalog.yaml, or decide anew.")
        return found

    def model(self, route: Route) -> Model:
        """Return a route's model; raises :class:`CatalogError` on an unknown one."""
        if (found := self.models.get((route.provider, route.model))) is None:
            raise CatalogError(
                f"The catalog has no route {route.name!r}.", hint="Add it to catalog.yaml, or decide anew."
            )
        return found

    def price(self, route: Route, *, batch: bool | None = None) -> Price:
        """Return the price of a route at its own tier, or at the one that `batch` says."""
        model = self.model(route)
        tier = route.tier if batch is None else "batch" if batch else "standard"
        if (found := self._prices.get((model.provider, model.name, tier))) is None:
            raise CatalogError(
                f"The provider {route.provider!r} has no {tier} tier.", hint="Give it `batch` in catalog.yaml."
            )
        return found

    def cost(
        self,
        route: Route,
        *,
        input_tokens: int,
        cached_tokens: int,
        output_tokens: int,
        batch: bool,
        cache_write_tokens: int = 0,
    ) -> Decimal:
        """Return what a call cost, in US dollars to nine decimals.

        Cached and cache-writing tokens are part of `input_tokens`, reasoning tokens of `output_tokens`.
        """
        price = self.price(route, batch=batch)
        return usd(
            price.pico(input_tokens, output_tokens, cached_tokens=cached_tokens, cache_write_tokens=cache_write_tokens)
        )

    def worst_case(self, route: Route, input_tokens: int, max_output_tokens: int) -> Decimal:
        """Return the most that one call can cost at the route's tier, in US dollars, rounded up."""
        output = min(max_output_tokens, self.model(route).max_output_tokens)
        return usd_at_most(self.price(route).worst_pico(input_tokens, output))

    def expected_output(self, task: str) -> int:
        """Return how many output tokens an answer in a task family is expected to have."""
        return self._expected_output_tokens.get(task, self._expected_output_tokens["default"])

    def _add(self, model: Model, *, priced: bool) -> None:
        place = len(self.models)
        if (provider := self.providers.get(model.provider)) is None:
            raise CatalogError(
                f"model {model.name}: its provider {model.provider!r} is not in the catalog.", model=place
            )
        if (key := (model.provider, model.name)) in self.models:
            raise CatalogError(f"model {model.name}: is there twice for provider {model.provider!r}.", model=place)
        if unknown := sorted(set(model.regions or ()) - set(provider.regions)):
            raise CatalogError(
                f"model {model.name}: the provider {model.provider} is not in {', '.join(unknown)}.", model=place
            )
        self.models[key] = model
        if priced:
            return
        try:
            standard, discounted = resolve(model.price, discount=provider.batch.discount if provider.batch else None)
        except ValueError as error:
            raise CatalogError(f"model {model.name}: price: {error}.", model=place) from error
        self._prices[(*key, "standard")] = standard
        if discounted is not None:
            self._prices[(*key, "batch")] = discounted

    def _offers(self) -> list[Offer]:
        tiers: tuple[Literal["standard", "batch"], ...] = ("standard", "batch")
        offers = []
        for (provider, name), model in self.models.items():
            for tier in tiers:
                if (price := self._prices.get((provider, name, tier))) is not None:
                    for region in model.regions or self.providers[provider].regions:
                        route = Route(provider=provider, model=name, version=model.version, region=region, tier=tier)
                        offers.append(Offer(self.providers[provider], model, route, price))
        return offers

    def content(self) -> dict[str, Any]:
        """Return everything that a decision can depend on, as JSON; :attr:`hash` covers it."""
        # An address counts as it stands in the file and by whether it resolves, so that the same files have the same
        # hash wherever the endpoint listens; prices count as resolved, so that a new price table shows.
        # What is as it would be if it were left out is left out: a field of a later release changes no hash.
        models = [
            {**model.model_dump(mode="json", exclude_defaults=True), "capabilities": sorted(model.capabilities)}
            for model in self.models.values()
        ]
        return {
            "providers": {
                name: {
                    **provider.model_dump(
                        mode="json", exclude={"base_url", "base_url_template"}, exclude_defaults=True
                    ),
                    "base_url": provider.base_url_template or provider.base_url,
                }
                for name, provider in self.providers.items()
            },
            "models": sorted(models, key=lambda model: (model["provider"], model["name"])),
            "prices": {"/".join(key): [list(band) for band in price.bands] for key, price in self._prices.items()},
            "expected_output_tokens": self._expected_output_tokens,
        }


def _dated(fields: dict[str, Any], date: dt.date | None) -> dict[str, Any]:
    price = fields.get("price")
    if date is None or not isinstance(price, dict) or "as_of" in price:
        return {}
    return {"price": {"as_of": date, **price}}


def _resolved(provider: Provider, environ: Mapping[str, str]) -> Provider:
    template = provider.base_url or ""
    missing = sorted({name for name in _VARIABLE.findall(template) if not environ.get(name)})
    if missing or not template:
        why = f"its address needs {' and '.join(missing)}, which is not set" if missing else "it has no address"
        return provider.model_copy(update={"base_url_template": template, "base_url": None, "unavailable": why})
    address = _VARIABLE.sub(lambda found: environ[found[1]], template)
    return provider.model_copy(update={"base_url_template": template, "base_url": address, "unavailable": None})
