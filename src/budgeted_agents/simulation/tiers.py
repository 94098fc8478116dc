"""From a recorded call to the call that is simulated: its tiers, what each would cost, and its tokens there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from msgspec.structs import replace

from budgeted_agents.errors import UnknownPrice
from budgeted_agents.governor import ModelCall, output_limit, quoted, usual_answer
from budgeted_agents.meter import Meter, Run
from budgeted_agents.prices import DatedPrices, Price, PriceBook, PricesLike, free_price
from budgeted_agents.prices.price import CacheWrite
from budgeted_agents.traces.audit.audit import day_of
from budgeted_agents.traces.audit.verdicts import assess
from budgeted_agents.traces.call import CLIENT_CACHE_HIT, LOCAL_MODEL, NO_USAGE_RECORDED, TracedCall
from budgeted_agents.usage import Usage


class Tier(NamedTuple):
    """A model that may make a call, and what it costs on the day of the call."""

    name: str
    price: Price


class Tiers(NamedTuple):
    """The models that may make a call, best first, and which of them made it."""

    models: tuple[Tier, ...]
    recorded: int

    @property
    def price(self) -> Price:
        """Of the model that made the call."""
        return self.models[self.recorded].price


class Tariff:
    """What models cost, and which of them a call may step down to.

    Args:
        prices: what models cost.
        models: models to step down to, best first.

    Raises:
        UnknownPrice: one of the models has no price.
        InvalidPrice: the prices cannot be read.
    """

    def __init__(self, prices: PricesLike = None, models: Sequence[str] = (), as_of: date | None = None) -> None:
        self._book = prices if isinstance(prices, PriceBook) else PriceBook.default()
        self._prices = DatedPrices.of(prices, as_of)
        self._models = (models,) if isinstance(models, str) else tuple(dict.fromkeys(models))
        self._known: dict[tuple[object, ...], Tiers | None] = {}
        for model in self._models:
            if self._prices.on(0, model) is None:
                self._book.price(model)  # says which names are near
                raise UnknownPrice(model)

    def tiers(self, call: TracedCall, start: float) -> Tiers | None:
        """The models that may make a call, from the one that was asked for; None if its price is not known."""
        steps_down = call.kind == "model"
        day, is_local = day_of(start), LOCAL_MODEL in call.flags
        key = (call.model, call.model_asked, call.provider, call.region, day, steps_down, is_local)
        if key not in self._known:
            self._known[key] = self._tiers(call, day, steps_down)
        return self._known[key]

    def _tiers(self, call: TracedCall, day: int, steps_down: bool) -> Tiers | None:
        price = self._prices.on(day, call.model, call.provider, call.region) if call.model else None
        if LOCAL_MODEL in call.flags:
            price = free_price(call.model or LOCAL_MODEL)
        if price is None:
            return None
        if not steps_down:
            return Tiers((Tier(call.model, price),), 0)
        listed = [Tier(name, self._on(day, name, call.region)) for name in self._models]
        used = _place(call.model, price, listed)
        asked = self._asked(call, day, listed) if call.model_asked else None
        known = used if used is not None else asked
        made = Tier(call.model if known is None else listed[known].name, price)
        if asked is not None and used is not None and asked < used:  # it had been stepped down when it was recorded
            return Tiers((*listed[asked:used], made, *listed[used + 1 :]), used - asked)
        return Tiers((made, *(listed if known is None else listed[known + 1 :])), 0)

    def _asked(self, call: TracedCall, day: int, listed: Sequence[Tier]) -> int | None:
        return _place(call.model_asked, self._prices.on(day, call.model_asked, call.provider), listed)

    def _on(self, day: int, model: str, region: str) -> Price:
        return self._prices.on(day, model, region=region) or self._book.price(model)


def _place(name: str, price: Price | None, models: Sequence[Tier]) -> int | None:
    """Where in the list a model stands, by its name or by the row that prices it."""
    bare = name.rpartition("/")[2]
    for index, (listed, listed_price) in enumerate(models):
        if listed.rpartition("/")[2] == bare or (price is not None and listed_price.model == price.model):
            return index
    return None


@dataclass(frozen=True, slots=True)
class Prompt:
    """How a recorded call is asked of a model again."""

    tokens: int
    cache_write: CacheWrite | None
    service_tier: str | None
    modalities: tuple[str, ...]

    @classmethod
    def of(cls, call: TracedCall) -> Prompt:
        usage = call.usage
        cached = usage.cache_write_5m or usage.cache_read  # what was read would be written anew by another model
        audio = ("audio",) if usage.audio_input or usage.audio_output else ()
        image = ("image",) if usage.image_input or usage.image_output else ()
        write: CacheWrite | None = "1h" if usage.cache_write_1h else "5m" if cached else None
        return cls(usage.prompt_tokens, write, call.service_tier or None, audio + image)


def model_call(
    meter: Meter, run: Run, call: TracedCall, tiers: Tiers, attribution: Mapping[str, str], asked: int | None
) -> ModelCall:
    """What the governor is to decide about.

    Args:
        meter: what the call is conducted with; its margins bound the input, whose real count is taken as the estimate.
        run: the invocation it belongs to.
        call: the call as it was recorded.
        tiers: the models that may make it.
        attribution: who it is for.
        asked: the output limit it asks for, in tokens; None for the model's longest answer.
    """
    prompt = Prompt.of(call)
    limits = [0 if call.kind == "embedding" else output_limit(asked, tier.price) for tier in tiers.models]
    node = attribution.get("node", "")
    useful = min(asked or usual_answer(run.longest_answer(node)), limits[0])
    quotes = tuple(
        quoted(
            tier.price,
            tier=index,
            model=tier.name,
            model_class=meter.policy.model_class(tier.name),
            estimate=prompt.tokens,
            bound=meter.margins.bound(tier.name, prompt.tokens),
            limit=limit,
            compared=len(limits) > 1,
            cached=run.cached_prefix(tier.name),
            useful=useful,
            cache_write=prompt.cache_write,
            service_tier=prompt.service_tier,
            modalities=prompt.modalities,
            thinking=meter.thinking.usual(tier.name, node),
        )
        for index, (tier, limit) in enumerate(zip(tiers.models, limits, strict=True))
    )
    return ModelCall(attribution, quotes, useful)


def moved(usage: Usage, cached: int) -> Usage:
    """The tokens of a call on another model than the recorded one: what its provider has not in its cache is written
    there anew, since the application had asked for a cache.

    Args:
        usage: as recorded.
        cached: input tokens that the model's provider has in its cache.
    """
    kept = min(usage.cache_read, cached)
    return replace(usage, cache_read=kept, cache_write_5m=usage.cache_write_5m + usage.cache_read - kept)


def shortened(usage: Usage, limit: int) -> Usage:
    """The tokens of a call whose answer is cut off at ``limit`` tokens: thinking comes first, so it is cut last."""
    excess = max(0, usage.completion_tokens - limit)
    left = {}
    for name in ("output", "image_output", "audio_output", "reasoning"):
        tokens: int = getattr(usage, name)
        taken = min(tokens, excess)
        left[name], excess = tokens - taken, excess - taken
    return replace(usage, **left)


def restored(call: TracedCall, price: Price) -> TracedCall:
    """The call with those tokens as cached that must have come from a cache, although the trace does not say so."""
    cached = assess(call, price).unrecorded_cache if call.recorded_cost is not None else 0
    if not cached:
        return call
    usage = call.usage
    usage = replace(usage, input=usage.input - cached, cache_read=usage.cache_read + cached)
    return replace(call, usage=usage)


def is_without_usage(call: TracedCall) -> bool:
    """Whether nothing says how many tokens a call used; one that failed and shows none used none."""
    return NO_USAGE_RECORDED in call.flags and not call.error and call.usage.total_tokens == 0


def was_free(call: TracedCall) -> bool:
    """Whether a call was certainly not billed: it was answered from the application's own cache, or failed at once."""
    return CLIENT_CACHE_HIT in call.flags or (bool(call.error) and call.usage.total_tokens == 0)
