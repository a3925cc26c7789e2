"""Calling a route: the adapter, the endpoint and the prices that the catalog gives it.

Secrets are read by name, anew when their file changes, and stand in no exception or log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import httpx

from schemas.codes import FailureClass
from schemas.decision import Orders, Route
from schemas.entries import Usage
from services.executor.adapter import Adapter, Answer, Failure, WireRequest
from services.executor.openai_compatible import OpenAICompatible
from services.executor.transport import Broken, Endpoint, Transport
from services.policy import Catalog, CatalogError, Provider
from services.runtime.secrets import Secrets

ADAPTERS: Final[dict[str, Adapter]] = {"openai-compatible": OpenAICompatible()}
CLAIM_HEADER: Final = b"x-waybill-attempt"
"""Carries the claim's id, so that a provider's own logs can be laid beside the record."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """What one call brought."""

    outcome: Answer | Failure | Broken
    status: int | None = None
    request_id: str | None = None


class Routes:
    """All routes of the catalog, ready to be called."""

    def __init__(self, catalog: Catalog, transport: Transport, secrets: Secrets) -> None:
        """Use a catalog's providers and prices."""
        self._catalog = catalog
        self._transport = transport
        self._secrets = secrets
        self._endpoints: dict[tuple[str, str, str | None], Endpoint] = {}

    def knows(self, route: Route) -> bool:
        """Whether the catalog still has a route and its tier: a decision may have waited longer than they lived."""
        try:
            self._catalog.price(route)
        except CatalogError:
            return False
        return True

    def request(self, job: Mapping[str, Any], orders: Orders, route: Route) -> WireRequest:
        """Return the wire request of a job on a route that the catalog has."""
        return self._adapter(route).request(job, orders, route)

    def worst_case(self, route: Route, input_tokens: int, max_output_tokens: int) -> Decimal:
        """Return the most that one attempt can cost, US dollars."""
        return self._catalog.worst_case(route, input_tokens, max_output_tokens)

    def cost(self, route: Route, usage: Usage) -> Decimal:
        """Return what an attempt cost, US dollars."""
        return self._catalog.cost(
            route,
            input_tokens=usage["input_tokens"],
            cached_tokens=usage["cached_input_tokens"],
            output_tokens=usage["output_tokens"],
            batch=route.tier == "batch",
        )

    async def call(self, request: WireRequest, route: Route, claim: UUID, *, timeout_s: float) -> CallResult:
        """Make one call on a route; never tries again."""
        provider = self._catalog.provider(route.provider)
        secret = self._secrets.get(provider.secret) if provider.secret else None
        if provider.base_url is None:
            return CallResult(Failure(FailureClass.MODEL_GONE))
        if provider.secret and secret is None:
            return CallResult(Failure(FailureClass.AUTH))
        endpoint = self._endpoint(provider, request.path, secret)
        answer = await self._transport.post(endpoint, request.body, (CLAIM_HEADER, str(claim).encode()), timeout_s)
        if isinstance(answer, Broken):
            return CallResult(answer)
        adapter = self._adapter(route)
        return CallResult(
            adapter.read(answer.status, answer.headers, answer.body), answer.status, adapter.request_id(answer.headers)
        )

    def _adapter(self, route: Route) -> Adapter:
        return ADAPTERS[self._catalog.provider(route.provider).adapter]

    def _endpoint(self, provider: Provider, path: str, secret: str | None) -> Endpoint:
        key = (provider.name, path, secret)
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            headers = {"content-type": "application/json", "accept": "application/json", **provider.headers}
            if secret is not None:
                headers["authorization"] = f"Bearer {secret}"
            url = httpx.URL(f"{provider.base_url}{path}")
            raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
            endpoint = self._endpoints[key] = Endpoint(url, raw)
        return endpoint
