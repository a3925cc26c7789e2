"""Prices are exact, and come from the catalog or from genai-prices as of a date."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given
from hypothesis import strategies as st
from policy_builders import a_model, a_provider

from schemas.decision import Route
from services.policy import Catalog, CatalogError
from services.policy.prices import PriceSpec, resolve, usd


def a_route(tier: Any = "standard") -> Route:
    return Route(provider="alpha", model="small", version="1", region="eu", tier=tier)


def catalog_with(price: dict[str, Any], **provider: Any) -> Catalog:
    spec = PriceSpec.model_validate({"as_of": "2026-08-01", **price})
    return Catalog([a_provider(**provider)], [a_model(price=spec)], {"default": 1})


def test_each_kind_of_token_has_its_price() -> None:
    catalog = catalog_with({"input": "0.15", "cached_input": "0.0375", "cache_write": "0.1875", "output": "0.60"})
    cost = catalog.cost(
        a_route(), input_tokens=1_001, cached_tokens=500, cache_write_tokens=100, output_tokens=7, batch=False
    )
    by_hand = 401 * Decimal("0.15") + 500 * Decimal("0.0375") + 100 * Decimal("0.1875") + 7 * Decimal("0.60")
    assert cost == (by_hand / 10**6).quantize(Decimal("1e-9"))


def test_batches_cost_less_where_the_provider_says_so() -> None:
    catalog = catalog_with({"input": 1, "output": 4}, batch={"discount": "0.5"})
    tokens = {"input_tokens": 1_000, "cached_tokens": 0, "output_tokens": 100}
    assert catalog.cost(a_route(), batch=False, **tokens) == Decimal("0.0014")
    assert catalog.cost(a_route(), batch=True, **tokens) == Decimal("0.0007")
    with pytest.raises(CatalogError, match="no batch tier"):
        catalog_with({"input": 1}).cost(a_route(), batch=True, **tokens)


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.data())
def test_no_call_costs_more_than_its_worst_case(input_tokens: int, output: int, data: st.DataObject) -> None:
    catalog = catalog_with({"input": "0.3", "cached_input": "0.03", "cache_write": "0.375", "output": "1.2"})
    cached = data.draw(st.integers(0, input_tokens))
    written = data.draw(st.integers(0, input_tokens - cached))
    cost = catalog.cost(
        a_route(),
        input_tokens=input_tokens,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=min(output, 8_000),
        batch=False,
    )
    assert cost <= catalog.worst_case(a_route(), input_tokens, output)


def test_a_worst_case_ends_where_the_model_ends() -> None:
    catalog = catalog_with({"input": 1, "output": 1})
    assert catalog.worst_case(a_route(), 0, 10**9) == catalog.worst_case(a_route(), 0, 8_000) == Decimal("0.008")


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-5.4-mini"), ("google", "gemini-2.5-pro")])
@pytest.mark.parametrize("tokens", [1_000, 250_000])
def test_looked_up_prices_are_those_of_the_package(provider: str, model: str, tokens: int) -> None:
    as_of = dt.date(2026, 8, 1)
    price, _ = resolve(
        PriceSpec.model_validate({"as_of": as_of, "genai_prices": {"provider": provider, "model": model}}),
        discount=None,
    )
    theirs = calc_price(
        Usage(input_tokens=tokens, cache_read_tokens=300, output_tokens=70),
        model,
        provider_id=provider,
        genai_request_timestamp=dt.datetime.combine(as_of, dt.time(), dt.UTC),
    )
    assert usd(price.pico(tokens, 70, cached_tokens=300)) == theirs.total_price


@pytest.mark.parametrize(
    ("price", "words"),
    [
        ({}, "needs input"),
        ({"genai_prices": {"provider": "openai", "model": "no-such-model"}}, "no-such-model"),
        ({"genai_prices": {"provider": "openai", "model": "gpt-5.4-mini"}, "input": 1}, "not both"),
    ],
)
def test_a_price_that_cannot_be_had_names_the_model(price: dict[str, Any], words: str) -> None:
    with pytest.raises(CatalogError, match=rf"model small: price: .*{words}"):
        catalog_with(price)
