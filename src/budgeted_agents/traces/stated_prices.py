"""Prices that traces state themselves, as those who wrote them had them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from budgeted_agents.errors import InvalidPrice
from budgeted_agents.prices import Price
from budgeted_agents.prices.rates import has_token_prices, regional_surcharge
from budgeted_agents.prices.rows import Row
from budgeted_agents.traces.problems import Problems


def stated_price(
    model: str,
    fields: Mapping[str, Any],
    source: str,
    problems: Problems,
    line: int,
    region: str = "",
    factor: Decimal | None = None,
) -> Price | None:
    """The price that a trace states for a model; None if it is none, or 0, which is said where no price is known.

    Args:
        model: the model.
        fields: what is stated, in the shape of a row of a price list.
        source: who says so.
        problems: where it says what is no price.
        line: the line it stands in, for messages.
        region: where the call was served, if its price may depend on that.
        factor: what every rate is multiplied by, for a discount or a margin; None for neither.
    """
    row = Row(model, fields, source)
    try:
        surcharge = regional_surcharge(row, region)
        if factor is not None:
            surcharge = factor if surcharge is None else factor * surcharge
        price = Price(row, source, surcharge) if has_token_prices(row) else None
    except InvalidPrice as error:
        problems.warn(f"the price it states is none ({error}); it is ignored", line)
        return None
    return price if price is not None and any(price.rates()) else None
