"""`Price`: one model's prices, compiled so that pricing a call takes about a microsecond."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from decimal import Decimal
from typing import Literal

from budgeted_agents.errors import InvalidUsage
from budgeted_agents.prices.rates import Rates, Table, compile_tables
from budgeted_agents.prices.rows import ATTO, ATTO_PER_NANO, Row
from budgeted_agents.usage import Usage

CacheWrite = Literal["5m", "1h"]
"""Lifetime of the prompt cache a call asks to write."""

_ATTO_PER_MILLI = ATTO_PER_NANO // 1000
_INPUT = ("input", "cache_read")
_OUTPUT = ("output", "reasoning", "audio_output", "image_output")
"""Classes of output. A model that lists a price for speech or pictures may give them without being asked to."""
_WRITES: dict[CacheWrite | None, tuple[str, ...]] = {
    None: (),
    "5m": ("cache_write_5m",),
    "1h": ("cache_write_5m", "cache_write_1h"),
}
_MODALITIES = frozenset(("audio", "image"))
_ASKED_CACHES = ("claude", "nova")
"""Models whose prompt cache is written only where the request asks for it (Anthropic, Amazon)."""

LEAST_EFFORTS = ("none", "minimal")
"""Levels of reasoning effort that leave an answer its room, the lowest first."""

_GEMINI_PROVIDERS = ("gemini", "vertex_ai-language-models")


class Price:
    """Prices of one model. All unit prices are exact; a call's cost is rounded up once, to whole nano-USD.

    Args:
        row: the model's row.
        source: where it comes from.
        surcharge: a factor on every rate for a token, where the call is served in a region that costs more.
        region: that region.

    Attributes:
        model: the name of the row in the list.
        provider: the provider named in the row; may be empty.
        source: where the row comes from, e.g. ``"litellm 1.106.2"`` or a file.
        max_input_tokens: the most input the model takes, in tokens; None if the list does not say.
        max_output_tokens: the most output the model gives, in tokens; None if the list does not say.
        least_effort: the reasoning effort at which the model hardly thinks (``none``, ``minimal``); empty if the list
            does not say that it has one.
        region: the region it holds for, if it is dearer there; else empty.
        thinks: whether the list says that the model can think before it answers.
        varies: whether calls cost more in some regions or at some speeds that only an answer may tell (Claude's).
        prices_searches: whether the row says what a web search that the provider runs costs; 0 is a price.
        writes_cache_unasked: whether the provider may write (and bill) its prompt cache without being asked to.
    """

    __slots__ = (
        "_per_request",
        "_per_search",
        "_search_once",
        "_shown",
        "_tables",
        "_worst",
        "least_effort",
        "max_input_tokens",
        "max_output_tokens",
        "model",
        "prices_searches",
        "provider",
        "region",
        "source",
        "thinks",
        "varies",
        "writes_cache_unasked",
    )

    def __init__(self, row: Row, source: str, surcharge: Decimal | None = None, region: str = "") -> None:
        self.model = row.model
        self.region = region
        self.provider = row.provider
        self.source = source
        self.max_input_tokens = row.limit("max_input_tokens")
        self.max_output_tokens = row.limit("max_output_tokens") or row.limit("max_tokens")
        self.writes_cache_unasked = row.has("cache_creation_input_token_cost") and not any(
            name in row.model for name in _ASKED_CACHES
        )
        self.varies = bool(row.mapping("provider_specific_entry"))
        self.least_effort = _least_effort(row)
        self.thinks = bool(row.fields.get("supports_reasoning"))
        tables = compile_tables(row, surcharge)
        self._tables: dict[str | None, Table] = {None: tables["standard"]}
        self._tables.update(tables)
        self._per_request = row.price("input_cost_per_request") or 0
        searches = _search_price(row)
        self.prices_searches = searches is not None
        self._per_search = searches or 0
        self._search_once = _bills_search_once(row)
        self._shown: dict[Rates, dict[str, str]] = {}
        self._worst: dict[object, list[tuple[int, int, int]]] = {}

    def __repr__(self) -> str:
        return f"Price({self.model!r}, source={self.source!r})"

    def cost(self, usage: Usage, service_tier: str | None = None, size: int | None = None) -> int:
        """Cost of one call in nano-USD, rounded up.

        Args:
            usage: what the call used. Costs of added-up usages differ, because rates depend on a call's prompt size.
            service_tier: ``flex``, ``priority``, ``batch``, ...; a tier without listed rates costs the standard rate.
            size: the size of prompt whose rates hold, in tokens; the usage's own if not given. For usages added up.
        """
        return -(-self.exact_cost(usage, service_tier, size) // ATTO_PER_NANO)

    def exact_cost(self, usage: Usage, service_tier: str | None = None, size: int | None = None) -> int:
        """Cost of one call in atto-USD, not rounded.

        Args:
            usage, service_tier, size: as for `cost`.
        """
        table = self._tables.get(service_tier)
        if table is None:
            table = self._table(service_tier)
        r = table.rates[0]
        if table.thresholds:
            r = table.rates[bisect_left(table.thresholds, usage.prompt_tokens if size is None else size)]
        atto = usage.input * r[0] + usage.cache_read * r[1] + usage.output * r[6] + self._per_request
        write_5m, write_1h = usage.cache_write_5m, usage.cache_write_1h
        audio, image = usage.audio_input, usage.image_input
        # Few calls have anything else, and to ask takes half the time of adding up zeros.
        if write_5m or write_1h or audio or image or usage.reasoning or usage.audio_output or usage.image_output:
            atto += (
                write_5m * r[2]
                + write_1h * r[3]
                + audio * r[4]
                + image * r[5]
                + usage.reasoning * r[7]
                + usage.audio_output * r[8]
                + usage.image_output * r[9]
            )
        if usage.web_searches:
            atto += self._searches(usage.web_searches)
        return atto

    def worst_case(
        self,
        prompt_tokens: int,
        cache_write: CacheWrite | None = None,
        service_tier: str | None = None,
        modalities: Collection[str] = (),
    ) -> tuple[int, int]:
        """The most a call can cost, as (nano-USD for the input, thousandths of a nano-USD for each output token).

        For every usage within it, ``cost(usage) <= base + ceil(output_tokens * rate / 1000)``. Web searches are not
        in it: their number is not bounded by tokens. ``search_cost`` has them.

        Args:
            prompt_tokens: upper bound of the call's input, in tokens.
            cache_write: the longest prompt-cache lifetime the call asks to write; None if it asks for none.
            service_tier: the service tier the call will be billed at.
            modalities: ``"audio"`` and ``"image"`` if the prompt has them.

        Raises:
            InvalidUsage: if ``prompt_tokens`` is negative, or ``cache_write`` or ``modalities`` is none of its values.
        """
        if prompt_tokens < 0:
            raise _invalid("is negative", "prompt_tokens", prompt_tokens, "Give the number of input tokens")
        key = (cache_write, service_tier, *modalities)
        brackets = self._worst.get(key) or self._worst_brackets(key, cache_write, service_tier, modalities)
        base = output = 0
        for above, input_rate, output_rate in brackets:
            if prompt_tokens > above:
                base = max(base, prompt_tokens * input_rate)
                output = max(output, output_rate)
        return -(-(base + self._per_request) // ATTO_PER_NANO), -(-output // _ATTO_PER_MILLI)

    def search_cost(self, searches: int) -> int:
        """Cost of so many searches that the provider runs for one call, in nano-USD."""
        return -(-self._searches(searches) // ATTO_PER_NANO)

    def rates(self, prompt_tokens: int = 0, service_tier: str | None = None) -> Rates:
        """Atto-USD for one token of each class in a call of this size."""
        table = self._tables.get(service_tier) or self._table(service_tier)
        return table.rates[bisect_left(table.thresholds, prompt_tokens)]

    def unit_prices(self, prompt_tokens: int = 0, service_tier: str | None = None) -> dict[str, str]:
        """The unit prices a call of this size is charged at: decimal USD for one token of each class, as text.

        Classes that cost what ``input`` or ``output`` costs are left out. ``request`` and ``web_search`` are per piece.
        """
        rates = self.rates(prompt_tokens, service_tier)
        shown = self._shown.get(rates)
        if shown is None:
            shown = {name: _usd(rate) for name, rate in _distinct(rates).items()}
            extras = {"request": self._per_request, "web_search": self._per_search}
            shown |= {name: _usd(rate) for name, rate in extras.items() if rate}
            self._shown[rates] = shown
        return dict(shown)

    def _table(self, service_tier: str | None) -> Table:
        tier = service_tier.lower() if service_tier else None
        return self._tables.get(tier) or self._tables["standard"]

    def _searches(self, searches: int) -> int:
        return self._per_search * (1 if self._search_once else searches)

    def _worst_brackets(
        self, key: object, cache_write: CacheWrite | None, service_tier: str | None, modalities: Collection[str]
    ) -> list[tuple[int, int, int]]:
        """(tokens the prompt must exceed, dearest input rate, dearest output rate) for each size of prompt."""
        if cache_write not in _WRITES:
            raise _invalid("is no cache lifetime", "cache_write", cache_write, 'Use None, "5m" or "1h"')
        if not set(modalities) <= _MODALITIES:
            raise _invalid("is not a collection of modalities", "modalities", modalities, 'Use ("audio", "image")')
        writes = _WRITES[cache_write or ("5m" if self.writes_cache_unasked else None)]
        inputs = (*_INPUT, *writes, *(f"{kind}_input" for kind in modalities))
        table = self._table(service_tier)
        brackets = [
            (above, _dearest(rates, inputs), _dearest(rates, _OUTPUT))
            for above, rates in zip((-1, *table.thresholds), table.rates, strict=True)
        ]
        self._worst[key] = brackets
        return brackets


def _least_effort(row: Row) -> str:
    """The lowest level of effort there is, where the list knows that the model takes it."""
    levels = row.fields.get("reasoning_effort_levels") or ()
    known = [name for name in LEAST_EFFORTS if name in levels or row.fields.get(f"supports_{name}_reasoning_effort")]
    return known[0] if known else ""


def _search_price(row: Row) -> int | None:
    """Atto-USD for one web search at the medium context size, the providers' default; None if the row has no price."""
    price = row.mapping("search_context_cost_per_query").get("search_context_size_medium")
    return None if price is None else row.atto("search_context_size_medium", price)


def _bills_search_once(row: Row) -> bool:
    """Gemini bills a grounded prompt once, however many searches it ran, unless the row says ``per_query``."""
    return row.provider in _GEMINI_PROVIDERS and row.fields.get("web_search_billing_unit") != "per_query"


def _dearest(rates: Rates, classes: Collection[str]) -> int:
    return max(int(getattr(rates, name)) for name in classes)


def _distinct(rates: Rates) -> dict[str, int]:
    """Rates of input and output, and of each class that differs from the one it belongs to."""
    named = rates._asdict()
    inputs = list(named)[: list(named).index("output")]
    plain = {name: rates.input if name in inputs else rates.output for name in named}
    return {name: rate for name, rate in named.items() if name in ("input", "output") or rate != plain[name]}


def _usd(atto: int) -> str:
    return format((Decimal(atto) / ATTO).normalize(), "f")


def _invalid(problem: str, field: str, value: object, remedy: str) -> InvalidUsage:
    return InvalidUsage(problem, field=field, value=value, place="worst_case", remedy=remedy)
