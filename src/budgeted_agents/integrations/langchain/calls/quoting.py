"""From a chat-model call to the governor's ``ModelCall``: what each tier would cost for these messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from msgspec import Struct

from budgeted_agents import governor
from budgeted_agents.errors import UnknownPrice
from budgeted_agents.governor import ModelCall, Quote, output_limit, quoted
from budgeted_agents.integrations.langchain.calls import introspect
from budgeted_agents.integrations.langchain.calls.messages import (
    SEARCH,
    blocks_of,
    cache_write,
    counter,
    modalities,
    schema_texts,
    searches_allowed,
)
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.in_force import landing_budgets
from budgeted_agents.meter import Meter
from budgeted_agents.prices import Price, free_price

REGION = "inference_geo"
"""The argument by which a call asks for a region (Claude's)."""


@dataclass(frozen=True)
class Tier:
    """A chat model of a best-first list.

    Attributes:
        given: the model as it was given, called where no budget governs.
        model: the same with its own retries off, called under a budget.
        name, provider: what its price is looked up by.
        region: where it asks to be served; a call may ask for another.
    """

    given: BaseChatModel
    model: BaseChatModel
    name: str
    provider: str | None
    region: str | None = None

    @classmethod
    def of(cls, model: BaseChatModel, *, instead: bool = False) -> Tier:
        """The tier of a model; of one that may be called ``instead`` of a better one."""
        name, provider = introspect.price_name(model)
        return cls(model, introspect.as_called(model, instead=instead), name, provider, introspect.region(model))


class Quoted(Struct, frozen=True):
    """A call with its tiers' prices, in the order of its quotes."""

    call: ModelCall
    prices: tuple[Price, ...]
    unpriced: bool


def quote(
    governance: Governance,
    tiers: Sequence[Tier],
    messages: Sequence[BaseMessage],
    kwargs: Mapping[str, Any],
    attribution: Mapping[str, str],
    *,
    clampable: bool,
) -> Quoted:
    """What this call would cost on each tier.

    Raises:
        UnknownPrice: a tier has no known price, and some budget counts money.
    """
    region = kwargs.get(REGION)
    prices = tuple(price_of(governance, tier.name, tier.provider, region or tier.region) for tier in tiers)
    asked = introspect.asked_limit(tiers[0].model, kwargs)
    asks = [output_limit(asked, price) for price in prices]
    useful = asked or min(usual_answer(governance, attribution), asks[0])
    schemas = schema_texts(kwargs)
    tallies = [counter(tier.name).count(messages, schemas) for tier in tiers]
    estimates = [tally.estimate(tier.name) for tally, tier in zip(tallies, tiers, strict=True)]
    blocks = blocks_of(messages) if tallies[0].rich else ()
    budgets = landing_budgets()
    shape = _Shape(
        governance,
        cache_write(blocks, kwargs),
        modalities(blocks),
        searches_allowed(kwargs) if SEARCH in "".join(schemas) else 0,
        introspect.answers(tiers[0].model, kwargs),
        useful,
        len(tiers) > 1,
        bool(budgets),
        attribution.get("node", ""),
        kwargs,
    )
    quotes = tuple(
        _quote(shape, index, tier, price, estimate, ask, introspect.service_tier(tier.model, kwargs))
        for index, (tier, price, estimate, ask) in enumerate(zip(tiers, prices, estimates, asks, strict=True))
        if index == 0 or _has_room(price, estimate)
    )
    can_clamp = clampable and all(introspect.limit_field(tier.model) for tier in tiers)
    call = ModelCall(attribution, quotes, useful, clampable=can_clamp, landing=budgets)
    return Quoted(call, prices, any(price.source == UNPRICED for price in prices))


def _has_room(price: Price, estimate: int) -> bool:
    """Whether so many input tokens fit into a model's context window, as far as it is known."""
    return not price.max_input_tokens or estimate <= price.max_input_tokens


class _Shape(Struct, frozen=True):
    """What is the same of a call whichever tier makes it."""

    governance: Governance
    cache_write: Any
    modalities: tuple[str, ...]
    searches: int
    answers: int
    useful: int
    steps_down: bool
    landing: bool
    node: str
    kwargs: Mapping[str, Any]


def _quote(
    shape: _Shape, index: int, tier: Tier, price: Price, estimate: int, ask: int, service_tier: str | None
) -> Quote:
    governance = shape.governance
    bound = governance.meter.margins.bound(tier.name, estimate)
    return quoted(
        price,
        tier=index,
        model=tier.name,
        model_class=governance.meter.policy.model_class(tier.name),
        estimate=estimate,
        bound=bound,
        limit=ask,
        compared=shape.steps_down,
        cached=governance.run.cached_prefix(tier.name),
        useful=shape.useful,
        answers=shape.answers,
        cache_write=shape.cache_write,
        service_tier=service_tier,
        modalities=shape.modalities,
        searches=shape.searches,
        thinking=_thinking(shape, tier, price),
    )


def _thinking(shape: _Shape, tier: Tier, price: Price) -> int:
    """Output tokens that a tier is likely to think for before it answers."""
    thinking = shape.governance.meter.thinking
    if not shape.landing:
        return thinking.usual(tier.name, shape.node)
    return 0 if least_effort(tier, price, shape.kwargs) else thinking.most(tier.name)


def most_thinking(governance: Governance, tiers: Sequence[Tier]) -> int:
    """The most output tokens that one of the tiers is likely to think for, whatever it is asked."""
    return max(governance.meter.thinking.most(tier.name) for tier in tiers)


def least_effort(tier: Tier, price: Price, kwargs: Mapping[str, Any]) -> str:
    """The reasoning effort at which a call of a tier hardly thinks, by the price list, else by LangChain's profile of
    the model; empty if it cannot be told to."""
    if not introspect.takes_effort(tier.model, kwargs):
        return ""
    return price.least_effort or introspect.least_effort(tier.model)


def usual_answer(governance: Governance, attribution: Mapping[str, str], thinker: str = "") -> int:
    """How long an answer this node is likely to need, in tokens; with what this model is likely to think for."""
    node = attribution.get("node", "")
    return governor.usual_answer(governance.run.longest_answer(node)) + governance.meter.thinking.usual(thinker, node)


def price_of(governance: Governance, name: str, provider: str | None, region: str | None = None) -> Price:
    """A model's price in a region; where no budget counts money, an unknown one does not matter and is marked as such.

    Raises:
        UnknownPrice: none is known, and some budget counts money: an unknown price is not $0.
    """
    try:
        return governance.meter.prices.price(name, provider, region)
    except UnknownPrice:
        if any(budget.usd is not None for budget in governance.meter.policy.budgets):
            raise
        return free_price(name, UNPRICED)


def price_as_served(meter: Meter, price: Price, region: str | None) -> Price:
    """The price in the region that an answer says it was served in; the price itself where it says none."""
    return price if region is None else meter.prices.find(price.model, region=region) or price


UNPRICED = "unpriced"
"""Source of the price of a model nobody knows the price of, where no budget counts money."""
