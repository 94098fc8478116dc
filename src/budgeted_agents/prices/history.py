"""What models cost in the past, read as data from genai-prices, the one list that keeps former prices.

Its entries become rows in LiteLLM's shape, so that one piece of code computes every cost. An entry whose price depends
on the time of day is passed over: the day is all that is known of many calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from budgeted_agents.prices.names import litellms_word
from budgeted_agents.prices.price import Price
from budgeted_agents.prices.rows import Row

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

_MILLION, _THOUSAND = Decimal(1_000_000), Decimal(1000)
_KEYS: Mapping[str, tuple[str, Decimal]] = {
    "input_mtok": ("input_cost_per_token", _MILLION),
    "output_mtok": ("output_cost_per_token", _MILLION),
    "cache_read_mtok": ("cache_read_input_token_cost", _MILLION),
    "cache_write_mtok": ("cache_creation_input_token_cost", _MILLION),
    "cache_write_1h_mtok": ("cache_creation_input_token_cost_above_1hr", _MILLION),
    "input_audio_mtok": ("input_cost_per_audio_token", _MILLION),
    "output_audio_mtok": ("output_cost_per_audio_token", _MILLION),
    "input_image_mtok": ("input_cost_per_image_token", _MILLION),
    "output_image_mtok": ("output_cost_per_image_token", _MILLION),
    "output_reasoning_mtok": ("output_cost_per_reasoning_token", _MILLION),
    "requests_kcount": ("input_cost_per_request", _THOUSAND),
}
"""Its names for prices, LiteLLM's, and for how many units they are."""

_SEARCHES = "web_searches_kcount"
_TIERS: Mapping[tuple[str, str], str] = {
    ("processing", "batch"): "_batches",
    ("service_tier", "flex"): "_flex",
    ("service_tier", "priority"): "_priority",
}
_PROVIDERS: Mapping[str, str] = {
    "bedrock": "aws",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "moonshot": "moonshotai",
    "together_ai": "together",
    "vertex_ai": "google",
    "xai": "x-ai",
}
"""LiteLLM's names for providers, and its."""

_RULES_OF: Mapping[str, str] = {"google": "gemini", "x-ai": "xai"}
"""Its providers whose prices LiteLLM's name brings rules for (thresholds, searches)."""


class PriceHistory:
    """Prices by model and day.

    Attributes:
        source: the list's name and version.
    """

    def __init__(self) -> None:
        from importlib.metadata import version

        from genai_prices.data import providers
        from genai_prices.data_snapshot import DataSnapshot

        self.source = f"genai-prices {version('genai-prices')}"
        self._snapshot = DataSnapshot(providers=providers, from_auto_update=False)
        self._prices: dict[tuple[str, str, int, Decimal | None], Price] = {}

    @staticmethod
    def is_installed() -> bool:
        """Whether genai-prices is there to be read."""
        return find_spec("genai_prices") is not None

    def on(
        self,
        day: date,
        model: str,
        provider: str | None = None,
        *,
        only_former: bool = False,
        surcharge: Decimal | None = None,
    ) -> Price | None:
        """The price of a model on a day; None if the list does not have it.

        Args:
            day: the day.
            model: its name, with or without provider.
            provider: who serves it, if the name does not say.
            only_former: only a price that has been replaced by another since.
            surcharge: a factor on every rate, for the region of the call, which the list does not know.
        """
        word = litellms_word(provider or "")
        try:
            found, entry = self._snapshot.find_provider_model(
                model, None, _PROVIDERS.get(word, word) or "litellm", None
            )
        except LookupError:
            return None
        eras = _eras(entry)
        index = max((i for i, (start, _) in enumerate(eras) if start <= day), default=None)
        if index is None or (only_former and index == len(eras) - 1):
            return None
        key = (found.id, entry.id, index, surcharge)
        if key not in self._prices:
            row = _row(eras[index][1], entry) | {"litellm_provider": _RULES_OF.get(found.id, found.id)}
            self._prices[key] = Price(Row(entry.id, row, self.source), self.source, surcharge)
        return self._prices[key]


def _eras(entry: ModelInfo) -> list[tuple[date, ModelPrice]]:
    """Token prices with the days they began on, in order; none if they depend on the time of day."""
    from genai_prices.types import ConditionalPrice, StartDateConstraint

    listed = entry.prices if isinstance(entry.prices, list) else [ConditionalPrice(prices=entry.prices)]
    eras = []
    for era in listed:
        if isinstance(era.constraint, StartDateConstraint) or era.constraint is None:
            eras.append((date.min if era.constraint is None else era.constraint.start_date, era.prices))
        else:
            return []
    return sorted((era for era in eras if _of(era[1], "input_mtok") is not None), key=lambda era: era[0])


def _row(prices: ModelPrice, entry: ModelInfo) -> dict[str, Any]:
    """Prices as a row in LiteLLM's shape, with those service tiers that cost something else."""
    row: dict[str, Any] = dict(_fields(prices, ""))
    searches = _of(prices, _SEARCHES)
    if isinstance(searches, Decimal):
        row["search_context_cost_per_query"] = {"search_context_size_medium": searches / _THOUSAND}
    for variant in entry.price_variants or ():
        suffix = _TIERS.get(next(iter(variant.when.items()))) if len(variant.when) == 1 else None
        if suffix and variant.constraint is None:
            row |= dict(_fields(variant.prices, suffix))
    return row


def _fields(prices: ModelPrice, suffix: str) -> Iterator[tuple[str, Decimal]]:
    for name, (key, units) in _KEYS.items():
        price = _of(prices, name)
        if isinstance(price, Decimal):
            yield key + suffix, price / units
        elif price is not None:
            yield key + suffix, price.base / units
            for tier in price.tiers:
                yield f"{key}_above_{tier.start}_tokens{suffix}", tier.price / units


def _of(prices: ModelPrice, name: str) -> Decimal | TieredPrices | None:
    value: Decimal | TieredPrices | None = getattr(prices, name, None)
    return value
