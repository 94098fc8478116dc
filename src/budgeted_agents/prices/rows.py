"""One model's row of a price list: its fields read exactly, or refused with the model, field and place named."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from budgeted_agents.errors import InvalidAmount, InvalidPrice
from budgeted_agents.money import NANO, to_decimal

ATTO = 10**18
"""Atto-USD in one USD: unit prices are kept as integers of this."""

ATTO_PER_NANO = ATTO // NANO
"""Atto-USD in one nano-USD."""

_MAX_PER_TOKEN = Decimal(1)
_MAX_PER_UNIT = Decimal(10_000)
_TOKEN_LIMITS = ("max_input_tokens", "max_output_tokens", "max_tokens")


class Row:
    """A row in LiteLLM's shape, e.g. ``{"input_cost_per_token": "0.0000025", ...}``, with exact reading.

    Args:
        model: the row's name in the list.
        fields: the row.
        place: the list it stands in, for messages.

    Raises:
        InvalidPrice: if the row is not a mapping.
    """

    __slots__ = ("fields", "model", "place")

    def __init__(self, model: str, fields: Any, place: str) -> None:
        self.model = model
        self.place = f"{place}: {model!r}"
        if not isinstance(fields, Mapping):
            raise InvalidPrice(
                "is not a mapping of prices",
                field=model,
                value=fields,
                place=place,
                remedy='Give {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"}',
            )
        self.fields: Mapping[str, Any] = fields

    @property
    def provider(self) -> str:
        """The row's provider, or an empty string."""
        return str(self.fields.get("litellm_provider") or "")

    def has(self, key: str) -> bool:
        """Whether the key is present with a value."""
        return self.fields.get(key) is not None

    def price(self, key: str) -> int | None:
        """The price under a key in atto-USD, rounded up; None if the row does not have it.

        Raises:
            InvalidPrice: if it is negative, not a finite number, or absurd.
        """
        value = self.fields.get(key)
        return None if value is None else self.atto(key, value)

    def first(self, *keys: str) -> int | None:
        """The price under the first of the keys that the row has."""
        return next((price for key in keys if (price := self.price(key)) is not None), None)

    def atto(self, key: str, value: Any) -> int:
        """A price in atto-USD, rounded up.

        Raises:
            InvalidPrice: if it is negative, not a finite number, or absurd.
        """
        try:
            amount = to_decimal(value, field=key, place=self.place)
        except InvalidAmount as error:
            raise self._invalid(error.problem, key, value) from None
        if "token" in key and amount >= _MAX_PER_TOKEN:
            raise self._invalid("is $1 or more for one token; is it a price per million?", key, value)
        if amount > _MAX_PER_UNIT:
            raise self._invalid("is absurdly high", key, value)
        return int((amount * ATTO).to_integral_value(ROUND_CEILING))

    def limit(self, key: str) -> int | None:
        """A limit in tokens; None if the row does not have a usable one."""
        value = self.fields.get(key)
        if isinstance(value, bool) or value is None or isinstance(value, str):
            return None
        return int(value)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """The mapping under a key; empty if the row does not have it.

        Raises:
            InvalidPrice: if it is something else.
        """
        value = self.fields.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise self._invalid("is not a mapping", key, value)
        return value or {}

    def multiplier(self, key: str, value: Any) -> Decimal:
        """A factor on all prices, e.g. 1.1.

        Raises:
            InvalidPrice: if it is negative, not a finite number, or above 100.
        """
        factor = Decimal(self.atto(key, value)) / ATTO
        if not 0 < factor <= 100:
            raise self._invalid("is no sensible multiplier", key, value)
        return factor

    def tiers(self) -> list[tuple[int, Row]]:
        """`tiered_pricing` as (tokens the tier starts above, its own row), in order; empty if there is none.

        Raises:
            InvalidPrice: if a tier is malformed.
        """
        listed = self.fields.get("tiered_pricing")
        if listed is None:
            return []
        if not isinstance(listed, list | tuple):
            raise self._invalid("is not a list of tiers", "tiered_pricing", listed)
        tiers = [Row(f"tiered_pricing[{index}]", tier, self.place) for index, tier in enumerate(listed)]
        by_tokens = [tier for tier in tiers if tier.has("range")]
        return sorted(((tier.start(), tier) for tier in by_tokens), key=lambda pair: pair[0])

    def check(self) -> None:
        """Read every price and limit once, so that a bad one is found now and not in the middle of a run.

        Raises:
            InvalidPrice: on the first bad one.
        """
        for key, value in self.fields.items():
            if "cost" in key and value is not None and not isinstance(value, Mapping):
                self.atto(key, value)
            if key in _TOKEN_LIMITS and value is not None and (type(value) is not int or value < 0):
                raise self._invalid("is not a whole number of tokens", key, value)
        for _, tier in self.tiers():
            tier.check()

    def start(self) -> int:
        """Where a tier of `tiered_pricing` starts: it holds above this many tokens of prompt."""
        bounds = self.fields["range"]
        sound = isinstance(bounds, list | tuple) and len(bounds) == 2 and all(_is_count(bound) for bound in bounds)
        if not sound:
            raise self._invalid("is not [from, to] in tokens", "range", bounds)
        return int(bounds[0])

    def _invalid(self, problem: str, field: str, value: object) -> InvalidPrice:
        return InvalidPrice(
            problem,
            field=field,
            value=value,
            place=self.place,
            remedy='Give a non-negative amount of USD for one unit, e.g. "0.0000025" for $2.50 per million tokens',
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool) and 0 <= value <= 10**12
