"""What a call costs: `PriceBook` finds a model's `Price`, and a `Price` turns `Usage` into nano-USD."""

from budgeted_agents.prices.book import PriceBook, free_price
from budgeted_agents.prices.dated import DatedPrices, PricesLike
from budgeted_agents.prices.price import Price

__all__ = ["DatedPrices", "Price", "PriceBook", "PricesLike", "free_price"]
