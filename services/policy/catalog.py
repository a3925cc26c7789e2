"""The catalog: which providers and models there are, what they can do, where they are, and what they cost.

Adding a model is a change of data. Everything that a decision can depend on is resolved at load, prices and the
environment's part of addresses included, and stands in :attr:`Catalog.hash`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator

from schemas.decision import Route
from services.policy.errors import CatalogError
from services.policy.files import Spec, content_hash, parse, read_yaml
from services.policy.prices import Price, PriceSpec, resolve, usd, usd_at_most

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=128)]
Share = Annotated[float, Field(ge=0, le=1)]
Capability = Literal["chat", "embed", "rerank", "tools", "structured"]
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Batch(Spec):
    """A provider's batch interface: the share, 0 to 1, that it takes off the price."""

    discount: Annotated[Decimal, Field(ge=0, le=1)]


class Provider(Spec):
    """An account at a provider. `secret` is the name of a secret, never its value; `retention_days` 0 keeps nothing."""

    name: Name
    description: str = ""
    simulated: bool = False
    adapter: Literal["openai-compatible"]
    base_url: str | None
    secret: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    regions: Annotated[list[Name], Field(min_length=1)]
    retention_days: Annotated[int, Field(ge=0)]
    batch: Batch | None = None
    base_url_template: str | None = None
    """The address as it stands in the file; set at load."""
    unavailable: str | None = None
    """Why it cannot be called here, in words, ``None`` when it can; set at load."""

    @field_validator("retention_days", mode="before")
    @classmethod
    def _zero_is_a_word(cls, value: Any) -> Any:
        return 0 if value == "zero" else value


class Model(Spec):
    """A model at a provider; `quality` is 0 to 1 by task family, with a ``default``; `latency_ms` a typical call."""

    provider: Name
    name: Name
    version: str
    capabilities: Annotated[frozenset[Capability], Field(min_length=1)]
    context_window: Annotated[int, Field(ge=1)]
    max_output_tokens: Annotated[int, Field(ge=0)]
    quality: dict[str, Share]
    latency_ms: Annotated[int, Field(ge=0)]
    price: PriceSpec

    @field_validator("quality")
    @classmethod
    def _has_a_default(cls, value: dict[str, float]) -> dict[str, float]:
        if "default" not in value:
            raise ValueError("needs a default, for tasks without a figure of their own")
        return value

    def quality_for(self, task: str) -> float:
        """Return the quality, 0 to 1, expected in a task family."""
        return self.quality.get(task, self.quality["default"])


class _File(Spec):
    version: Literal[1]
    expected_output_tokens: dict[str, Annotated[int, Field(ge=0)]]
    providers: dict[Name, dict[str, Any]]
    models: Annotated[list[dict[str, Any]], Field(min_length=1)]

    @field_validator("expected_output_tokens")
    @classmethod
    def _has_a_default(cls, value: dict[str, int]) -> dict[str, int]:
        if "default" not in value:
            raise ValueError("needs a default, for tasks without a figure of their own")
        return value


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
        self, providers: list[Provider], models: list[Model], expected_output_tokens: Mapping[str, int]
    ) -> None:
        """Take parsed parts; raises :class:`CatalogError` when they do not fit together."""
        self.providers: dict[str, Provider] = {provider.name: provider for provider in providers}
        self.models: dict[tuple[str, str], Model] = {}
        self._expected_output_tokens = dict(expected_output_tokens)
        self._prices: dict[tuple[str, str, str], Price] = {}
        for model in models:
            self._add(model)
        # Batch tiers are for jobs of the class `batch` only; who chooses sees to that.
        self.offers: tuple[Offer, ...] = tuple(
            sorted(self._offers(), key=lambda offer: (offer.route.name, offer.route.tier))
        )
        self.hash: str = content_hash(self._content())

    @classmethod
    def load(cls, path: Path, environ: Mapping[str, str]) -> Catalog:
        """Read a catalog file; raises :class:`~services.policy.errors.PolicyError` naming the entry that is wrong."""
        file = parse(_File, read_yaml(path), where=str(path), error=CatalogError)
        providers = [
            parse(Provider, {**fields, "name": name}, where=f"{path}: provider {name}", error=CatalogError)
            for name, fields in file.providers.items()
        ]
        models = [
            parse(Model, fields, where=f"{path}: model {fields.get('name', number)}", error=CatalogError)
            for number, fields in enumerate(file.models, start=1)
        ]
        try:
            return cls([_resolved(provider, environ) for provider in providers], models, file.expected_output_tokens)
        except CatalogError as error:
            raise CatalogError(f"{path}: {error}", hint=error.hint) from error

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

    def _add(self, model: Model) -> None:
        if model.provider not in self.providers:
            raise CatalogError(f"model {model.name}: its provider {model.provider!r} is not in the catalog.")
        if (key := (model.provider, model.name)) in self.models:
            raise CatalogError(f"model {model.name}: is there twice for provider {model.provider!r}.")
        batch = self.providers[model.provider].batch
        try:
            standard, discounted = resolve(model.price, discount=batch.discount if batch else None)
        except ValueError as error:
            raise CatalogError(f"model {model.name}: price: {error}.") from error
        self.models[key] = model
        self._prices[(*key, "standard")] = standard
        if discounted is not None:
            self._prices[(*key, "batch")] = discounted

    def _offers(self) -> list[Offer]:
        tiers: tuple[Literal["standard", "batch"], ...] = ("standard", "batch")
        offers = []
        for (provider, name), model in self.models.items():
            for tier in tiers:
                if (price := self._prices.get((provider, name, tier))) is not None:
                    for region in self.providers[provider].regions:
                        route = Route(provider=provider, model=name, version=model.version, region=region, tier=tier)
                        offers.append(Offer(self.providers[provider], model, route, price))
        return offers

    def _content(self) -> dict[str, Any]:
        # An address counts as it stands in the file and by whether it resolves, so that the same files have the same
        # hash wherever the endpoint listens; prices count as resolved, so that a new price table shows.
        models = [
            {**model.model_dump(mode="json"), "capabilities": sorted(model.capabilities)}
            for model in self.models.values()
        ]
        return {
            "providers": {
                name: provider.model_dump(mode="json", exclude={"base_url"})
                for name, provider in self.providers.items()
            },
            "models": sorted(models, key=lambda model: (model["provider"], model["name"])),
            "prices": {"/".join(key): price.bands for key, price in self._prices.items()},
            "expected_output_tokens": self._expected_output_tokens,
        }


def _resolved(provider: Provider, environ: Mapping[str, str]) -> Provider:
    template = provider.base_url or ""
    missing = sorted({name for name in _VARIABLE.findall(template) if not environ.get(name)})
    if missing or not template:
        why = f"its address needs {' and '.join(missing)}, which is not set" if missing else "it has no address"
        return provider.model_copy(update={"base_url_template": template, "base_url": None, "unavailable": why})
    address = _VARIABLE.sub(lambda found: environ[found[1]], template)
    return provider.model_copy(update={"base_url_template": template, "base_url": address})
