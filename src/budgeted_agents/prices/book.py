"""`PriceBook`: prices by model name, from LiteLLM's list, a file, and overrides."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from budgeted_agents.errors import UnknownPrice
from budgeted_agents.prices.bundled import bundled_list, read_list
from budgeted_agents.prices.names import find_row, is_local
from budgeted_agents.prices.price import Price
from budgeted_agents.prices.rates import has_token_prices, regional_surcharge
from budgeted_agents.prices.rows import Row

Rows = Mapping[str, Mapping[str, Any]]
"""Rows in the shape of LiteLLM's list, by model name."""

_LOCAL_ROW: Mapping[str, Any] = {"input_cost_per_token": 0, "output_cost_per_token": 0, "litellm_provider": "ollama"}
_LOCAL_SOURCE = "local models cost nothing"

_default_lock = threading.Lock()
_default: PriceBook | None = None


class PriceBook:
    """Prices by model name. A model is compiled once, on first use; a book may be shared by threads.

    Args:
        rows: rows in LiteLLM's shape, e.g. ``{"my-model": {"input_cost_per_token": "0.000001", ...}}`` (USD).
        source: where they come from; every `Price` says so.

    Attributes:
        edition: another object after every change of the book: a price looked up before may have changed since.

    Raises:
        InvalidPrice: if a price is negative, not a finite number, or absurd.
    """

    def __init__(self, rows: Rows | None = None, source: str = "own prices") -> None:
        self._lock = threading.Lock()
        self._rows: Rows = {}
        self._sources: Mapping[str, str] = {}
        self._prices: dict[tuple[str, str | None, str | None], Price] = {}
        self.edition = object()
        if rows:
            self.register(rows, source=source)

    @classmethod
    def default(cls) -> PriceBook:
        """The book over the installed LiteLLM's list: one for the process, read on first use. Empty without LiteLLM."""
        global _default
        with _default_lock:
            if _default is None:
                rows, source = bundled_list()
                book = cls()
                book._rows, book._sources = rows, dict.fromkeys(rows, source)
                _default = book
            return _default

    @classmethod
    def from_file(cls, path: str | Path, *, base: PriceBook | None = None) -> PriceBook:
        """A book over a JSON file in the shape of LiteLLM's list, whose rows win over the base's.

        Args:
            path: the file.
            base: the book for all other models; the default book if not given.

        Raises:
            InvalidPrice: if the file cannot be read or has a bad price; names the file, the model and the field.
        """
        rows = read_list(Path(path))
        book = cls.default() if base is None else base
        return book.with_overrides(rows, source=str(path))

    def with_overrides(self, rows: Rows, *, source: str = "own prices") -> PriceBook:
        """A new book in which these rows win; this one stays as it is.

        Raises:
            InvalidPrice: if a price is bad.
        """
        book = PriceBook()
        book._rows, book._sources = self._rows, self._sources
        book.register(rows, source=source)
        return book

    def register(self, rows: Rows, *, source: str = "own prices") -> None:
        """Add rows, or change fields of rows that are there (fields not given keep their value).

        Prices may be text, Decimal, int or float (a float counts as its shortest decimal form). A price of 0 is a
        price: calls to such a model cost nothing. Calls already recorded keep the price they were charged at.

        Raises:
            InvalidPrice: if a price is bad; then nothing has been changed.
        """
        for model, fields in rows.items():
            Row(model, fields, source).check()
        with self._lock:
            merged = {model: {**self._rows.get(model, {}), **fields} for model, fields in rows.items()}
            for model, fields in merged.items():
                Price(Row(model, fields, source), source)
            self._sources = {**self._sources, **dict.fromkeys(rows, source)}
            self._rows = {**self._rows, **merged}
            self._prices = {}
            self.edition = object()

    def price(self, model: str, provider: str | None = None, region: str | None = None) -> Price:
        """The price of a model.

        Args:
            model: its name, with or without provider: ``gpt-4o``, ``azure/gpt-4o``, ``claude-opus-4-6[1m]``.
            provider: who serves it, if the name does not say: LiteLLM's, LangChain's or OpenTelemetry's word for it.
                Here as for a region, empty is not given.
            region: where the call is served, if the provider charges more there: ``eu`` or ``us`` (OpenAI's data
                residency), ``us`` (Claude's inference geography), a Vertex AI location other than ``global``.

        Raises:
            UnknownPrice: if no row prices the model by the token.
            InvalidPrice: if its row holds a bad price.
        """
        found = self.find(model, provider, region)
        if found is None:
            raise self._unknown(model, provider)
        return found

    def find(self, model: str, provider: str | None = None, region: str | None = None) -> Price | None:
        """The price of a model, or None if no row prices it by the token.

        Args:
            model, provider, region: as for `price`.

        Raises:
            InvalidPrice: if its row holds a bad price.
        """
        found = self._prices.get((model, provider, region))
        return found if found is not None else self._compile(model, provider, region)

    def surcharge(self, model: str, provider: str | None, region: str) -> Decimal | None:
        """The factor on a model's rates in a region; None if no row says that it costs more there.

        Raises:
            InvalidPrice: if the row holds a bad one.
        """
        name = find_row(model, provider, self._rows)
        return None if name is None else regional_surcharge(Row(name, self._rows[name], self._sources[name]), region)

    def __contains__(self, model: object) -> bool:
        """Whether a model has a price."""
        return isinstance(model, str) and self.find(model) is not None

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._rows)

    def _compile(self, model: str, provider: str | None, region: str | None) -> Price | None:
        with self._lock:
            rows, sources, prices = self._rows, self._sources, self._prices
        name = find_row(model, provider, rows)
        if name is None and is_local(model, provider):
            name, rows, sources = model, {model: _LOCAL_ROW}, {model: _LOCAL_SOURCE}
        row = None if name is None else Row(name, rows[name], sources[name])
        if row is None or not has_token_prices(row):
            return None
        surcharge = regional_surcharge(row, region)
        dearer = "" if surcharge is None or region is None else region
        key = (row.model, None, dearer or None)
        price = prices.get(key) or prices.setdefault(key, Price(row, sources[row.model], surcharge, dearer))
        prices[model, provider, region] = price
        return price

    def _unknown(self, model: str, provider: str | None) -> UnknownPrice:
        if not self._rows:
            return UnknownPrice(model, hint="This book is empty: install litellm, whose price list is read as data.")
        name = find_row(model, provider, self._rows)
        if name is not None:
            return UnknownPrice(model, hint=f"{self._sources[name]}: {name!r} has no price per token.")
        return UnknownPrice(model, get_close_matches(model, self._rows, n=3, cutoff=0.6))


@lru_cache(maxsize=512)
def free_price(model: str, source: str = "free") -> Price:
    """The price of a model that costs nothing, or of one whose price nobody asks for.

    Args:
        model: its name.
        source: what the `Price` says of where it comes from.
    """
    return PriceBook({model: {"input_cost_per_token": 0, "output_cost_per_token": 0}}, source).price(model)
