"""``DatedPrices``: what a model cost on the day of a call."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from budgeted_agents.errors import InvalidPrice
from budgeted_agents.prices.book import PriceBook
from budgeted_agents.prices.bundled import read_list
from budgeted_agents.prices.history import PriceHistory
from budgeted_agents.prices.names import litellms_word
from budgeted_agents.prices.price import Price

_SPOKEN_BY_MANY = "openai"
"""The provider whose interface many others have too."""

_EPOCH = date(1970, 1, 1)
_DATED = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\D|$)")


class DatedPrices:
    """Prices by model and day, from several lists. The first that has a price wins: a user's own list; a former price
    out of the history; the current list; the history's current price.

    Args:
        current: prices that hold today, and at any time for which nothing better is known.
        own: a user's lists by the day each is of; of several, the newest that was out on the day of the call.
        history: former prices.
        as_of: price every call as on this day, whenever it was made.
    """

    def __init__(
        self,
        current: PriceBook,
        *,
        own: Mapping[date, PriceBook] | None = None,
        history: PriceHistory | None = None,
        as_of: date | None = None,
    ) -> None:
        self._current = current
        self._own = sorted((own or {}).items())
        self._history = history
        self._as_of = as_of

    @classmethod
    def load(cls, prices: str | Path | None = None, as_of: date | None = None) -> DatedPrices:
        """The lists that are installed, and a user's own.

        Args:
            prices: a JSON file in the shape of LiteLLM's list, or of several such lists by date:
                ``{"2025-06-11": {"my-model": {...}}, ...}``; a date may be followed by other words.
            as_of: price every call as on this day.

        Raises:
            InvalidPrice: the file cannot be read, or has a bad price or date.
        """
        own = {} if prices is None else _own_lists(Path(prices))
        history = PriceHistory() if PriceHistory.is_installed() else None
        return cls(PriceBook.default(), own=own, history=history, as_of=as_of)

    @classmethod
    def of(cls, prices: PricesLike, as_of: date | None = None) -> DatedPrices:
        """What ``prices=`` was given: a book, whose prices hold on any day; dated prices; or a file, as for `load`.

        Args:
            prices: one of them, or None for the lists that are installed.
            as_of: price every call as on this day.

        Raises:
            InvalidPrice: the file cannot be read, or has a bad price or date.
        """
        if isinstance(prices, PriceBook):
            return cls(prices, as_of=as_of)
        if not isinstance(prices, DatedPrices):
            return cls.load(prices, as_of)
        return prices if as_of is None else prices.as_on(as_of)

    def as_on(self, day: date) -> DatedPrices:
        """These prices with every call priced as on one day."""
        return DatedPrices(self._current, own=dict(self._own), history=self._history, as_of=day)

    def on(self, day: int, model: str, provider: str | None = None, region: str | None = None) -> Price | None:
        """The price of a model on a day, or None.

        Args:
            day: days since 1970-01-01; 0 if unknown, which is priced as today.
            model: its name, with or without provider.
            provider: who serves it, if the name does not say; empty is not given. A model that OpenAI does not have was
                served by its own maker: traces name OpenAI for whatever its client called.
            region: where the call is served, if the provider charges more there; empty is not given. Former prices are
                the current list's factor dearer, because the history does not know regions.
        """
        when = self._as_of or (_EPOCH + timedelta(days=day) if day else datetime.now(UTC).date())
        found = self._first(when, model, provider, region)
        if found is None and provider and litellms_word(provider) == _SPOKEN_BY_MANY:
            found = self._first(when, model, None, region)
            return found and (self._first(when, model, found.provider, region) or found)
        return found

    def _first(self, when: date, model: str, provider: str | None, region: str | None) -> Price | None:
        return (
            self._of_own(when, model, provider, region)
            or self._of_history(when, model, provider, region, only_former=True)
            or self._current.find(model, provider, region)
            or self._of_history(when, model, provider, region, only_former=False)
        )

    def _of_own(self, when: date, model: str, provider: str | None, region: str | None) -> Price | None:
        """From the newest list of that time that has the model, else from the oldest that has it."""
        out = bisect_right([day for day, _ in self._own], when)
        books = [*(book for _, book in reversed(self._own[:out])), *(book for _, book in self._own[out:])]
        found = (book.find(model, provider, region) for book in books)
        return next((price for price in found if price is not None), None)

    def _of_history(
        self, when: date, model: str, provider: str | None, region: str | None, *, only_former: bool
    ) -> Price | None:
        if self._history is None:
            return None
        surcharge = self._current.surcharge(model, provider, region) if region else None
        return self._history.on(when, model, provider, only_former=only_former, surcharge=surcharge)


PricesLike = PriceBook | DatedPrices | str | Path | None
"""What ``prices=`` takes: prices, a file of them, or None for the installed lists."""


def parse_day(day: date | str | None) -> date | None:
    """A day, which may be given in ISO form; ``today`` is one too. Of a time, the day it is on. None stays None.

    Raises:
        InvalidPrice: it is none.
    """
    if isinstance(day, datetime):
        return day.date()
    if day is None or isinstance(day, date):
        return day
    try:
        return datetime.now(UTC).date() if day == "today" else date.fromisoformat(day)
    except (TypeError, ValueError):
        raise InvalidPrice(
            "is no day", field="as_of", value=day, place="prices", remedy='Give e.g. "2025-06-11", or "today"'
        ) from None


def _own_lists(path: Path) -> dict[date, PriceBook]:
    lists = read_list(path)
    found = {name: match for name in lists if (match := _DATED.match(name))}
    if not lists or len(found) < len(lists):
        return {date.min: PriceBook(lists, source=str(path))}
    return {_day_of(match, path): _book(lists, name, path) for name, match in found.items()}


def _day_of(match: re.Match[str], path: Path) -> date:
    try:
        return date.fromisoformat(match[1])
    except ValueError:
        raise _bad("is no day", match.string, path) from None


def _book(lists: Mapping[str, Any], name: str, path: Path) -> PriceBook:
    if not isinstance(lists[name], Mapping):
        raise _bad("is not a JSON object of models", name, path)
    return PriceBook(lists[name], f"{path.name}: {name}")


def _bad(problem: str, name: str, path: Path) -> InvalidPrice:
    return InvalidPrice(
        problem,
        field="list",
        value=name,
        place=str(path),
        remedy='Give lists by date: {"2025-06-11": {"my-model": {"input_cost_per_token": 0.000001}}}',
    )
