"""The prices that records of ours were charged at: those of each class of tokens, and which list they are from."""

from __future__ import annotations

from budgeted_agents.prices import Price
from budgeted_agents.traces.formats.otlp.layouts import Layout
from budgeted_agents.traces.formats.otlp.shapes import Attribute, text_of
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.stated_prices import stated_price

_UNIT_PRICE = "budget.unit_price."
_SOURCE = "budget.price.source"
_SEARCH = "web_search"
_INPUTS = {
    "input": "input_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write_5m": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "audio_input": "input_cost_per_audio_token",
    "image_input": "input_cost_per_image_token",
}
_OUTPUTS = {
    "output": "output_cost_per_token",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_output": "output_cost_per_audio_token",
    "image_output": "output_cost_per_image_token",
}
"""Classes of tokens, and what price lists call their prices. A record leaves out what costs as much as the first."""

_REQUEST = "request"
_MOST_REMEMBERED = 1_000


class UnitPrices:
    """Prices out of records, each made once.

    Args:
        problems: where it says what is no price.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._at: Layout | None = None
        self._names: tuple[str, ...] = ()
        self._positions: tuple[int, ...] = ()
        self._known: dict[tuple[tuple[str, ...], ...], Price | None] = {}

    def of(self, attributes: list[Attribute], at: Layout, model: str, line: int) -> Price | None:
        """The price that a record states for its model; None if it states none, or one of 0, which no list has.

        Args:
            attributes: the record's.
            at: where they stand.
            model: the model, for messages.
            line: the record's line, for messages.
        """
        if at is not self._at:
            self._look_at(at)
        stated = tuple([text_of(attributes[position].value) for position in self._positions])
        key = (self._names, stated)
        if key not in self._known:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[key] = self._price(dict(zip(self._names, stated, strict=True)), model, line)
        return self._known[key]

    def _look_at(self, at: Layout) -> None:
        """Find out where the prices stand; most records have them in the same place as the one before."""
        self._at = at
        found = [(place, key) for place, key in enumerate(at.keys) if key == _SOURCE or key.startswith(_UNIT_PRICE)]
        self._positions = tuple(place for place, _ in found)
        self._names = tuple(key.removeprefix(_UNIT_PRICE) for _, key in found)

    def _price(self, stated: dict[str, str], model: str, line: int) -> Price | None:
        if "input" not in stated or "output" not in stated:
            return None
        source = stated.get(_SOURCE) or "records"
        fields: dict[str, object] = {key: stated.get(name, stated["input"]) for name, key in _INPUTS.items()}
        fields |= {key: stated.get(name, stated["output"]) for name, key in _OUTPUTS.items()}
        fields["input_cost_per_request"] = stated.get(_REQUEST)
        fields["search_context_cost_per_query"] = {"search_context_size_medium": stated.get(_SEARCH)}
        return stated_price(model, fields, source, self._problems, line)
