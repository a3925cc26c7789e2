"""What tokens cost: prices from the catalog or from ``genai-prices``, and exact arithmetic over them.

Inside, money is an integer of pico-dollars (1e-12 USD), since a price of 0.000001 USD per million tokens is one of them
per token: sums are exact and fast. Outside, it is a ``Decimal`` of US dollars with at most nine decimals.
"""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import Annotated, Final, NamedTuple

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices, TimeOfDateConstraint
from pydantic import AfterValidator, Field

from services.policy.files import Spec

PICO: Final = 10**12
_NANO: Final = Decimal("1e-9")
_PRICED_BY_SOMETHING_ELSE: Final = ("requests_kcount", "input_mchars")
"""Units of ``genai-prices`` that every call pays and tokens do not tell; a price with them would be too low here."""


def plain(amount: Decimal) -> Decimal:
    """Return an amount without trailing zeros: one written form for each value."""
    return Decimal(format(amount.normalize(), "f"))


UsdPerMillion = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6), AfterValidator(plain)]
UsdPerRequest = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=9), AfterValidator(plain)]


class GenaiPrice(Spec):
    """A model as the package ``genai-prices`` names it."""

    provider: str
    model: str


class Amounts(Spec):
    """US dollars per million tokens of each kind, and per request; what is left out is not said."""

    input: UsdPerMillion | None = None
    cached_input: UsdPerMillion | None = None
    cache_write: UsdPerMillion | None = None
    output: UsdPerMillion | None = None
    request: UsdPerRequest | None = None

    @property
    def any(self) -> bool:
        """Whether at least one amount is given."""
        return self != Amounts()


class Override(Amounts):
    """Amounts that replace others from a date on: a negotiated price, or one that the price table has not yet."""

    since: dt.date
    why: Annotated[str, Field(min_length=1, max_length=200)]


class PriceSpec(Amounts):
    """A price as the catalog gives it: explicit amounts, or a name to look up, as of a date; and what overrides it."""

    as_of: dt.date
    genai_prices: GenaiPrice | None = None
    overrides: tuple[Override, ...] = ()

    @property
    def explicit(self) -> Amounts:
        """The amounts that the price itself gives."""
        return Amounts(**{name: getattr(self, name) for name in Amounts.model_fields})


class Rates(NamedTuple):
    """Pico-dollars per token and per call, for calls with more than `above` input tokens."""

    above: int
    input: int
    cached_input: int
    cache_write: int
    output: int
    request: int = 0
    """Of each call, whatever its size."""

    @property
    def dearest_input(self) -> int:
        """The most that an input token can cost, cached or not."""
        return max(self.input, self.cached_input, self.cache_write)


class Price(NamedTuple):
    """The rates of a model, by size of the input, ascending; the first band is for any size."""

    bands: tuple[Rates, ...]

    def rates(self, input_tokens: int) -> Rates:
        """Return the rates that a call of this size pays for all its tokens."""
        found = self.bands[0]
        for band in self.bands[1:]:
            if input_tokens > band.above:
                found = band
        return found

    def pico(
        self, input_tokens: int, output_tokens: int, *, cached_tokens: int = 0, cache_write_tokens: int = 0
    ) -> int:
        """Return the cost in pico-dollars; cached and cache-writing tokens are part of the input tokens."""
        rates = self.rates(input_tokens)
        plain = max(input_tokens - cached_tokens - cache_write_tokens, 0)
        return (
            plain * rates.input
            + cached_tokens * rates.cached_input
            + cache_write_tokens * rates.cache_write
            + output_tokens * rates.output
            + rates.request
        )

    def worst_pico(self, input_tokens: int, output_tokens: int) -> int:
        """Return the most that a call can cost in pico-dollars: nothing cached, or all of it written to a cache."""
        rates = self.rates(input_tokens)
        return input_tokens * rates.dearest_input + output_tokens * rates.output + rates.request

    def discounted(self, discount: Decimal) -> Price:
        """Return this price with a share of it, 0 to 1, taken off."""
        factor = 1 - discount
        return Price(
            tuple(
                Rates(band.above, *(int((rate * factor).to_integral_value()) for rate in band[1:]))
                for band in self.bands
            )
        )


def usd(pico: int) -> Decimal:
    """Return pico-dollars as US dollars, to nine decimals, half to even, without trailing zeros."""
    return Decimal(pico).scaleb(-12).quantize(_NANO, ROUND_HALF_EVEN).normalize()


def usd_at_most(pico: int) -> Decimal:
    """Return pico-dollars as US dollars, rounded up, for what has to be a ceiling."""
    return Decimal(pico).scaleb(-12).quantize(_NANO, ROUND_CEILING).normalize()


def pico(amount: Decimal) -> int:
    """Return US dollars as pico-dollars, rounded down."""
    return int(amount.scaleb(12))


def resolve(spec: PriceSpec, *, discount: Decimal | None) -> tuple[Price, Price | None]:
    """Return the standard price and, with a `discount`, the batch tier's; raises ``ValueError`` in words for people."""
    published: Price | None = None
    if spec.genai_prices is None:
        standard = Price((_rates(spec.explicit),))
    elif spec.explicit.any:
        raise ValueError("give either genai_prices or explicit amounts, not both; overrides go with either")
    else:
        model = _look_up(spec.genai_prices)
        # A fixed date, never today's: the same files and the same package give the same prices on any day.
        when = dt.datetime.combine(spec.as_of, dt.time(), dt.UTC)
        standard = _from_genai(model.get_prices(when))
        if discount is not None:
            published = _from_genai(model.get_prices(when, {"processing": "batch"}))
    overrides = sorted((found for found in spec.overrides if found.since <= spec.as_of), key=lambda found: found.since)
    for override in overrides:
        standard = Price(tuple(_overridden(band, override) for band in standard.bands))
    if discount is None:
        return standard, None
    # A published batch price says nothing of a price of one's own: with overrides, the discount is taken off those.
    if published is None or published == standard or overrides:
        return standard, standard.discounted(discount)
    return standard, published


def _rates(amounts: Amounts) -> Rates:
    if amounts.input is None and amounts.request is None:
        raise ValueError(
            "the price needs input (US dollars per million tokens), request (US dollars per call) or genai_prices"
        )
    plain = amounts.input or Decimal(0)
    cached = plain if amounts.cached_input is None else amounts.cached_input
    write = plain if amounts.cache_write is None else amounts.cache_write
    return Rates(
        above=0,
        input=_per_token(plain),
        cached_input=_per_token(cached),
        cache_write=_per_token(write),
        output=_per_token(amounts.output or Decimal(0)),
        request=pico(amounts.request or Decimal(0)),
    )


def _overridden(band: Rates, override: Override) -> Rates:
    given = {
        name: _per_token(amount)
        for name in ("input", "cached_input", "cache_write", "output")
        if (amount := getattr(override, name)) is not None
    }
    if override.request is not None:
        given["request"] = pico(override.request)
    return band._replace(**given)


def _look_up(name: GenaiPrice) -> ModelInfo:
    try:
        _, model = get_snapshot().find_provider_model(name.model, None, name.provider, None)
    except LookupError as error:
        raise ValueError(f"genai-prices knows no model {name.model!r} of provider {name.provider!r}") from error
    if isinstance(model.prices, list) and any(
        isinstance(price.constraint, TimeOfDateConstraint) for price in model.prices
    ):
        raise ValueError(f"the price of {name.model!r} changes with the time of day; give explicit amounts")
    return model


def _from_genai(price: ModelPrice) -> Price:
    if price.input_mtok is None or any(getattr(price, unit) is not None for unit in _PRICED_BY_SOMETHING_ELSE):
        raise ValueError("genai-prices has no price by tokens alone for this model; give explicit amounts")
    starts = {0}
    for amount in (price.input_mtok, price.cache_read_mtok, price.cache_write_mtok, price.output_mtok):
        if isinstance(amount, TieredPrices):
            starts.update(tier.start for tier in amount.tiers)
    return Price(tuple(_band(price, start) for start in sorted(starts)))


def _band(price: ModelPrice, above: int) -> Rates:
    plain = _amount(price.input_mtok, above)
    return Rates(
        above,
        _per_token(plain),
        _per_token(plain if price.cache_read_mtok is None else _amount(price.cache_read_mtok, above)),
        _per_token(plain if price.cache_write_mtok is None else _amount(price.cache_write_mtok, above)),
        _per_token(_amount(price.output_mtok, above)),
    )


def _amount(amount: Decimal | TieredPrices | None, above: int) -> Decimal:
    if amount is None:
        return Decimal(0)
    if isinstance(amount, TieredPrices):
        reached = [tier.price for tier in amount.tiers if tier.start <= above]
        return reached[-1] if reached else amount.base
    return amount


def _per_token(per_million: Decimal) -> int:
    return int(per_million.scaleb(6).to_integral_value())
