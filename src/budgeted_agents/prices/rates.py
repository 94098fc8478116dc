"""A row compiled: for every service tier and every size of prompt, one rate for each class of tokens.

The keys are LiteLLM's: ``<class key>[_above_<size>_tokens][_<service tier>]``. A rate of the service tier in hand wins;
what the tier does not list costs its standard rate. A cached class without a rate of its own is ordinary input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from budgeted_agents.prices.rows import Row

_THRESHOLD = re.compile(r"_above_(\d+)(k?)_tokens")
_BATCH = "_batches"
_SUFFIXES: Mapping[str, str] = {
    "flex": "_flex",
    "priority": "_priority",
    "fast": "_priority",
    "balanced": "_balanced",
    "ultrafast": "_ultrafast",
    "batch": _BATCH,
}
_INCLUSIVE_PROVIDERS = frozenset({"xai"})
"""Providers that bill the higher rate from the threshold on, not only above it (docs.x.ai)."""

_CACHE_READ_SHARE: Mapping[str, Decimal] = {"fireworks_ai": Decimal("0.5")}
"""Share of the input rate a cached token costs where the provider states one rule for all models (fireworks.ai)."""


class Rates(NamedTuple):
    """Atto-USD for one token of each class of `Usage`."""

    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    audio_input: int
    image_input: int
    output: int
    reasoning: int
    audio_output: int
    image_output: int

    def times(self, factor: Decimal) -> Rates:
        """Every rate multiplied, rounded up to whole atto-USD."""
        return Rates(*(int((rate * factor).to_integral_value(ROUND_CEILING)) for rate in self))


class Table(NamedTuple):
    """Rates by size of the prompt: ``rates[i]`` holds above ``thresholds[i - 1]`` tokens, up to ``thresholds[i]``."""

    thresholds: tuple[int, ...]
    rates: tuple[Rates, ...]

    def times(self, factor: Decimal) -> Table:
        """Every rate multiplied."""
        return Table(self.thresholds, tuple(rates.times(factor) for rates in self.rates))


def has_token_prices(row: Row) -> bool:
    """Whether the row prices what a call sends by the token, so that its cost can be known."""
    return row.has("input_cost_per_token") or any(tier.has("input_cost_per_token") for _, tier in row.tiers())


def compile_tables(row: Row, surcharge: Decimal | None = None) -> dict[str, Table]:
    """The row's tables by service tier; ``standard`` is always there. A surcharge multiplies all rates.

    Raises:
        InvalidPrice: if a price in it is bad.
    """
    tables = _tables(row)
    return tables if surcharge is None else {tier: table.times(surcharge) for tier, table in tables.items()}


def _tables(row: Row) -> dict[str, Table]:
    if any(tier.has("input_cost_per_token") for _, tier in row.tiers()):
        return {"standard": _tiered_table(row)}
    tables = {"standard": _table(row, "")}
    for tier, suffix in _SUFFIXES.items():
        if any(key.endswith(suffix) and row.has(key) for key in row.fields):
            tables[tier] = _table(row, suffix)
    fast = row.mapping("provider_specific_entry").get("fast")
    if fast is not None:
        tables["fast"] = tables["standard"].times(row.multiplier("provider_specific_entry.fast", fast))
    return tables


def regional_surcharge(row: Row, region: str | None) -> Decimal | None:
    """The factor on calls served in a region: OpenAI's data residency, Claude's geography, Vertex's endpoints; or None.

    Raises:
        InvalidPrice: if it is no sensible factor.
    """
    if not region:
        return None
    region = region.lower()
    residency = f"regional_processing_uplift_multiplier_{region}"
    if row.has(residency):
        return row.multiplier(residency, row.fields[residency])
    geography = row.mapping("provider_specific_entry").get(region) if region != "fast" else None
    if geography is not None:
        return row.multiplier(f"provider_specific_entry.{region}", geography)
    endpoint = "regional_endpoint_uplift_multiplier"
    return row.multiplier(endpoint, row.fields[endpoint]) if region != "global" and row.has(endpoint) else None


def _table(row: Row, suffix: str) -> Table:
    sizes = sorted({_size(match) for key in row.fields if row.has(key) and (match := _THRESHOLD.search(key))})
    labels = [label for _, label in sizes]
    included = 1 if row.provider in _INCLUSIVE_PROVIDERS else 0
    return Table(
        tuple(tokens - included for tokens, _ in sizes),
        tuple(_rates(row, suffix, labels[:crossed]) for crossed in range(len(labels) + 1)),
    )


def _size(match: re.Match[str]) -> tuple[int, str]:
    """A threshold in tokens, with its label as the keys spell it."""
    digits, thousands = match.groups()
    return int(digits) * (1000 if thousands else 1), digits + thousands


def _rates(row: Row, suffix: str, crossed: list[str]) -> Rates:
    def rate(key: str) -> int | None:
        return _rate(row, key, suffix, crossed)

    def write_rate(key: str) -> int | None:
        # A cache written in a batch is ordinary input of the batch, unless the list prices it there.
        only_batch = suffix == _BATCH and row.has("input_cost_per_token" + _BATCH)
        return _rate(row, key, suffix, crossed, standard=not only_batch)

    base = rate("input_cost_per_token") or 0
    output = rate("output_cost_per_token") or row.price("output_cost_per_image_token") or 0
    write = _or(write_rate("cache_creation_input_token_cost"), base)
    return Rates(
        input=base,
        cache_read=_or(rate("cache_read_input_token_cost"), _unlisted_cache_read(row, base)),
        cache_write_5m=write,
        cache_write_1h=_or(rate("cache_creation_input_token_cost_above_1hr"), write),
        audio_input=_or(rate("input_cost_per_audio_token"), base),
        image_input=_or(rate("input_cost_per_image_token"), base),
        output=output,
        reasoning=_reasoning(row, suffix, output),
        audio_output=_or(rate("output_cost_per_audio_token"), output),
        image_output=_or(rate("output_cost_per_image_token"), output),
    )


def _rate(row: Row, key: str, suffix: str, crossed: list[str], *, standard: bool = True) -> int | None:
    """The price of the highest threshold crossed that lists one, of the service tier before the standard one."""
    suffixes = (suffix, "") if standard else (suffix,)
    keys = [f"{key}_above_{label}_tokens{tier}" for label in reversed(crossed) for tier in suffixes]
    return row.first(*keys, *(key + tier for tier in suffixes))


def _reasoning(row: Row, suffix: str, output: int) -> int:
    """A tier that prices output covers reasoning too, unless it prices reasoning apart."""
    key = "output_cost_per_reasoning_token"
    tier_prices_output = suffix and row.has("output_cost_per_token" + suffix)
    own = row.price(key + suffix) if tier_prices_output else row.first(key + suffix, key)
    return _or(own, output)


def _unlisted_cache_read(row: Row, base: int) -> int:
    share = _CACHE_READ_SHARE.get(row.provider)
    return base if share is None else int((base * share).to_integral_value(ROUND_CEILING))


def _tiered_table(row: Row) -> Table:
    """`tiered_pricing`: the size of the prompt picks one tier, and every token of the call is charged at it."""
    tiers = [(start, tier) for start, tier in row.tiers() if tier.has("input_cost_per_token")]
    return Table(tuple(start for start, _ in tiers[1:]), tuple(_tier_rates(row, tier) for _, tier in tiers))


def _tier_rates(row: Row, tier: Row) -> Rates:
    base = tier.price("input_cost_per_token") or 0
    priced = tier if tier.has("output_cost_per_token") else row
    output = priced.price("output_cost_per_token") or 0
    write = _or(tier.price("cache_creation_input_token_cost"), base)
    return Rates(
        input=base,
        cache_read=_or(tier.price("cache_read_input_token_cost"), base),
        cache_write_5m=write,
        cache_write_1h=_or(tier.price("cache_creation_input_token_cost_above_1hr"), write),
        audio_input=_or(row.price("input_cost_per_audio_token"), base),
        image_input=_or(row.price("input_cost_per_image_token"), base),
        output=output,
        reasoning=_or(_first(tier, priced, "output_cost_per_reasoning_token"), output),
        audio_output=_or(row.price("output_cost_per_audio_token"), output),
        image_output=_or(row.price("output_cost_per_image_token"), output),
    )


def _or(value: int | None, otherwise: int) -> int:
    """An explicit zero is a price; only an absent one is replaced."""
    return otherwise if value is None else value


def _first(row: Row, other: Row, key: str) -> int | None:
    value = row.price(key)
    return other.price(key) if value is None else value
